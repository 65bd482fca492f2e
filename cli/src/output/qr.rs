//! QR codes on a terminal.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code, without which scanners do not find it.
const QUIET: usize = 4;
/// Black on white, whatever the terminal's colours are: scanners want dark modules on light ground.
const COLOURS: &str = "\x1b[30;107m";
const RESET: &str = "\x1b[0m";

/// A text as a QR code, two rows of modules a line; `None` if it is too long for one.
#[must_use]
pub fn code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let width = code.width();
    let dark = |x: usize, y: usize| {
        let inside = (QUIET..QUIET + width).contains(&x) && (QUIET..QUIET + width).contains(&y);
        inside && code[(x - QUIET, y - QUIET)] == Color::Dark
    };
    let side = width + 2 * QUIET;
    let mut shown = String::with_capacity(side * side * 2);
    for y in (0..side).step_by(2) {
        shown.push_str(COLOURS);
        shown.extend((0..side).map(|x| match (dark(x, y), dark(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        shown.push_str(RESET);
        shown.push('\n');
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_drawn_inside_a_quiet_zone() {
        let text = "otpauth://totp/cyx:ada@example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=cyx";
        let code_of_text = QrCode::with_error_correction_level(text, EcLevel::L).unwrap();
        let width = code_of_text.width();
        let shown = code(text).unwrap();
        let rows: Vec<Vec<char>> = shown
            .lines()
            .map(|line| line.strip_prefix(COLOURS).unwrap().strip_suffix(RESET).unwrap().chars().collect())
            .collect();
        let dark = |x: usize, y: usize| {
            let upper = y.is_multiple_of(2);
            match rows[y / 2][x] {
                '█' => true,
                '▀' => upper,
                '▄' => !upper,
                _ => false,
            }
        };
        for y in 0..width + 2 * QUIET {
            for x in 0..width + 2 * QUIET {
                let inside = (QUIET..QUIET + width).contains(&x) && (QUIET..QUIET + width).contains(&y);
                let expected = inside && code_of_text[(x - QUIET, y - QUIET)] == Color::Dark;
                assert_eq!(dark(x, y), expected, "{x},{y}");
            }
        }
        assert!(dark(QUIET, QUIET) && dark(QUIET + width - 1, QUIET) && dark(QUIET, QUIET + width - 1), "finders");
    }

    #[test]
    fn a_text_that_is_too_long_has_none() {
        assert_eq!(code(&"x".repeat(4000)), None);
    }
}
