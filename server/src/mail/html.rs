//! A letter's plain text as HTML.

/// Paragraphs, commands and codes of a plain text. Everything in it is shown as it is, never interpreted.
pub(super) fn of(title: &str, plain: &str) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{}</title>\n</head>\n\
         <body style=\"font-family:sans-serif;max-width:36em\">\n",
        escape(title)
    );
    for block in plain.split("\n\n").map(|block| block.trim_end()).filter(|block| !block.is_empty()) {
        let is_code = block.len() == crate::tokens::OTP_DIGITS && block.bytes().all(|b| b.is_ascii_digit());
        let text = escape(block);
        if is_code {
            out.push_str("<p style=\"font-size:200%;letter-spacing:.2em\">\n");
            out.push_str(&format!("<b>{text}</b>\n</p>\n"));
        } else if block.lines().all(|line| line.starts_with("    ")) {
            let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
            out.push_str(&format!("<pre>\n{}\n</pre>\n", lines.join("\n")));
        } else {
            out.push_str(&format!("<p>\n{}\n</p>\n", text.replace('\n', "<br>\n")));
        }
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let out = of("A & B", "Hello <script>,\n\nfirst\nsecond\n\n    cyx login\n\n123456\n");
        assert!(out.contains("<title>A &amp; B</title>"));
        assert!(out.contains("<p>\nHello &lt;script&gt;,\n</p>"));
        assert!(out.contains("<p>\nfirst<br>\nsecond\n</p>"));
        assert!(out.contains("<pre>\ncyx login\n</pre>"));
        assert!(out.contains("<b>123456</b>"));
        assert!(!out.lines().any(|line| line == "123456"), "the code stands alone in the plain text only");
    }
}
