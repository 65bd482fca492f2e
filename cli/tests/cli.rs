//! What the program does with what is typed: help, usage errors, exit codes, output. One row or test per behaviour; none of
//! them needs a server.

#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

struct Program {
    home: TempDir,
}

impl Program {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cyx"));
        command.env_clear().env("HOME", self.home.path()).stdin(Stdio::null()).current_dir(self.home.path());
        command
    }

    fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        self.command().args(args).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Splits as a person types; `''` is an empty argument.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().map(|word| if word == "''" { "" } else { word }).collect()
}

#[test]
fn a_log_that_cannot_be_written_changes_nothing() {
    let program = Program::new();
    let run = |stderr: Stdio| {
        let mut command = program.command();
        // Nobody listens there, which the log tells.
        command.args(words("-vvv login --begin --email a@example.org --password-stdin --gateway http://127.0.0.1:1"));
        let mut child = command.stdin(Stdio::piped()).stderr(stderr).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"A long pass phrase 1!\n").unwrap();
        child.wait_with_output().unwrap()
    };
    let logged = run(Stdio::piped());
    assert!(text(&logged.stderr).contains("DEBUG"), "{}", text(&logged.stderr));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(run(full.into()).status.code(), logged.status.code());
}

#[test]
fn exit_codes_and_messages() {
    #[rustfmt::skip]
    let table: &[(&str, i32, &str)] = &[
        // what is typed                                  exit  standard error contains
        ("frobnicate",                                     2, "unrecognized subcommand"),
        ("list --frobnicate",                              2, "unexpected argument"),
        ("upload",                                         2, "--bucket"),
        ("upload f",                                       2, "--bucket"),
        ("upload f --bucket b --if-absent --if-match 3",   2, "cannot be used with"),
        ("upload f --bucket b --abort --dry-run",          2, "cannot be used with"),
        ("upload f --bucket b --durability most",          2, "invalid value"),
        ("download b",                                     2, "--key"),
        ("delete b",                                       2, "<KEY>"),
        ("list --prefix p",                                2, "<BUCKET>"),
        ("login --begin --session x --otp 1",              2, "cannot be used with"),
        ("login --session x",                              2, "--otp"),
        ("-q -v quota",                                    2, "cannot be used with"),
        ("dev up --nodes 0",                               2, "invalid value"),
        ("--gateway ftp://x whoami",                       2, "is not usable"),
        ("--gateway http://example.org whoami",            2, "plain HTTP is only for servers on this machine"),
        ("register --username ada",                        2, "no terminal to ask on. Use --email."),
        ("register --email ada@example.org",               2, "no terminal to ask on. Use --username."),
        ("register --email a@b.org --username ada",        2, "no terminal to ask on. Use --password-stdin or set CYXCLOUD_PASSWORD."),
        ("login --email a@b.org",                          2, "no terminal to ask on. Log in in two steps"),
        ("login --email a@b.org --begin",                  2, "Use --password-stdin or set CYXCLOUD_PASSWORD."),
        ("login --email a@b.org --otp 123456",             2, "--session"),
        ("login --session none --otp 123456",              3, "there is no login of this session id"),
        ("login --session none",                           2, "--otp"),
        ("login --session none --otp 1 --signature x",     2, "cannot be used with"),
        ("login --wallet-address x",                       2, "--begin"),
        ("login --wallet-address x --begin",               2, "not the address of a wallet"),
        ("login --signature x",                            2, "--session"),
        ("login --wallet /nowhere/id.json",                3, "/nowhere/id.json"),
        ("login --without-keys",                           2, "for logins with a wallet"),
        ("whoami",                                         4, "cyx: not logged in. Run `cyx login`."),
        ("quota",                                          4, "cyx: not logged in. Run `cyx login`."),
        ("status",                                         4, "cyx: not logged in. Run `cyx login`."),
        ("bucket create b",                                4, "not logged in"),
        ("bucket list --json",                             4, "not logged in"),
        ("bucket delete b",                                4, "not logged in"),
        ("list",                                           4, "not logged in"),
        ("list b -l -r",                                   4, "not logged in"),
        ("upload - --bucket b --key k",                    4, "not logged in"),
        ("upload - --bucket b",                            2, "--key"),
        ("download b --key k -o -",                        4, "not logged in"),
        ("download b -r -o -",                             2, "standard output"),
        ("download b --key k -r -o -",                     2, "standard output"),
        ("delete b k",                                     4, "not logged in"),
        ("stat b k",                                       4, "not logged in"),
        ("cat b k",                                        4, "not logged in"),
        ("cp b k l",                                       4, "not logged in"),
        ("mv b k l",                                       4, "not logged in"),
        ("mkdir b k",                                      4, "not logged in"),
        ("trash list b",                                   4, "not logged in"),
        ("trash restore b k",                              4, "not logged in"),
        ("trash restore b k l --as m",                     2, "--as"),
        ("trash empty b",                                  4, "not logged in"),
        ("passwd",                                         4, "not logged in"),
        ("passwd --begin --otp 123456",                    2, "cannot be used with"),
        ("passwd --session x",                             2, "--otp"),
        ("otp list",                                       4, "not logged in"),
        ("otp enroll --begin --otp 123456",                2, "cannot be used with"),
        ("otp enroll --session x",                         2, "--otp"),
        ("otp enroll --confirm 1 --begin",                 2, "cannot be used with"),
        ("otp remove",                                     4, "not logged in"),
        ("sessions list",                                  4, "not logged in"),
        ("sessions revoke",                                2, "<ID"),
        ("sessions revoke --all --others",                 2, "cannot be used with"),
        ("apikey create",                                  2, "--name"),
        ("apikey create --name x",                         4, "not logged in"),
        ("apikey create --name x --session y",             2, "--otp"),
        ("account email --change x --otp-old 1",           2, "--otp-new"),
        ("account email a@b.org --change x",               2, "cannot be used with"),
        ("apikey create --name x --expires never",         2, "never is not a time. Use for example 90d"),
        ("apikey list",                                    4, "not logged in"),
        ("apikey revoke",                                  2, "<ID>"),
        ("recover",                                        2, "no terminal to ask on. Use --email."),
        ("upload a/conf b/conf --bucket x",                2, "a/conf and b/conf would both be stored as conf"),
        ("recover --email a@b.org",                        2, "no terminal to ask on. Recover in two steps"),
        ("recover --email a@b.org --session x --otp 1",    2, "--session takes what --begin printed"),
        ("recover --email a@b.org --otp 1",                2, "--session"),
        ("account email new@example.org --begin",          4, "not logged in"),
        ("account export",                                 4, "not logged in"),
        ("rotate",                                         4, "not logged in"),
        ("account delete",                                 4, "not logged in"),
        ("account keep",                                   4, "not logged in"),
        ("account words",                                  4, "not logged in"),
        ("audit",                                          4, "not logged in"),
        ("audit --since soon",                             2, "soon is not a time"),
        ("admin users",                                    4, "not logged in"),
        ("admin plan ada gold",                            2, "invalid value"),
        ("admin audit --check --since 1d",                 2, "cannot be used with"),
        ("dev status",                                     3, "there is no cluster in"),
        ("dev down",                                       3, "there is no cluster in"),
        ("dev stop-node 1",                                3, "Start one with `cyx dev up`."),
        ("logout",                                         0, "Nobody was logged in."),
        ("logout -q",                                      0, ""),
    ];
    let program = Program::new();
    for (typed, code, message) in table {
        let output = program.run(&words(typed));
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "cyx {typed}: {errors}");
        assert!(errors.contains(message), "cyx {typed}: {errors}");
        if *code != 0 {
            assert!(output.stdout.is_empty(), "cyx {typed} printed {}", text(&output.stdout));
        }
    }
}

#[test]
fn a_gateway_that_does_not_answer_is_a_network_error() {
    let program = Program::new();
    // Bound and closed again: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = program
        .command()
        .env("CYXCLOUD_PASSWORD", "Violet-Tramway-29-Okra")
        .args(["login", "--email", "ada@example.org", "--begin", "--gateway", &format!("http://127.0.0.1:{port}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
}

#[test]
fn recovery_words_that_are_none_are_refused_before_the_code_is_used() {
    let program = Program::new();
    let id = "ab".repeat(16);
    let args = ["recover", "--email", "a@b.org", "--session", &id, "--otp", "123456"];
    let run = |words: &str| program.command().args(args).env("CYXCLOUD_RECOVERY_WORDS", words).output().unwrap();
    for (words, message) in [
        ("abandon ability", "there must be 24 recovery words, not 2"),
        (&"abandon ".repeat(24), "do not belong together"),
        (&"secretive ".repeat(24), "word 1 is not a recovery word"),
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(2), "{words}");
        let errors = text(&output.stderr);
        assert!(errors.contains(message) && !errors.contains(words.split(' ').next().unwrap()), "{errors}");
    }
}

#[test]
fn a_token_that_is_none_is_refused_without_being_shown() {
    let output = Program::new().command().env("CYXCLOUD_TOKEN", "not-a-token-at-all").arg("list").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    assert!(errors.contains("CYXCLOUD_TOKEN") && !errors.contains("not-a-token"), "{errors}");
}

#[test]
fn a_weak_password_is_refused_before_anything_is_sent() {
    let program = Program::new();
    let mut child = program
        .command()
        .args(["register", "--email", "ada@example.org", "--username", "ada", "--password-stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"Password123!\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("cyx: the password is easy to guess."), "{}", text(&output.stderr));
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let program = Program::new();
    let commands = [
        "register",
        "login",
        "logout",
        "whoami",
        "quota",
        "status",
        "passwd",
        "recover",
        "otp",
        "otp enroll",
        "otp list",
        "otp remove",
        "otp backup-codes",
        "wallet",
        "wallet text",
        "wallet link",
        "wallet list",
        "wallet remove",
        "sessions",
        "sessions list",
        "sessions revoke",
        "apikey",
        "apikey create",
        "apikey list",
        "apikey revoke",
        "rotate",
        "account",
        "account email",
        "account export",
        "account delete",
        "account keep",
        "account words",
        "audit",
        "admin",
        "admin users",
        "admin plan",
        "admin role",
        "admin disable",
        "admin audit",
        "admin nodes",
        "bucket",
        "bucket create",
        "bucket list",
        "bucket delete",
        "upload",
        "download",
        "list",
        "delete",
        "stat",
        "cat",
        "cp",
        "mv",
        "mkdir",
        "trash",
        "trash list",
        "trash restore",
        "trash empty",
        "dev",
        "dev up",
        "dev status",
        "dev stop-node",
        "dev start-node",
        "dev down",
        "completions",
    ];
    for command in commands {
        let mut args = words(command);
        args.push("--help");
        let output = program.run(&args);
        let help = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(help.contains("Example"), "{command} has no example: {help}");
        assert!(help.contains(&format!("cyx {command}")), "{command}: {help}");
        for option in ["--json", "--quiet", "--verbose", "--gateway"] {
            assert!(help.contains(option), "{command} does not mention {option}");
        }
    }
}

#[test]
fn help_offers_every_command_and_nothing_of_the_build() {
    let help = text(&Program::new().run(&["--help"]).stdout);
    for offered in ["upload", "verify", "node", "rotate", "mount", "admin"] {
        assert!(help.contains(&format!("\n  {offered} ")), "{offered} is not offered: {help}");
    }
    let completions = text(&Program::new().run(&["completions", "bash"]).stdout);
    assert!(!completions.contains("generate"), "a command of the build is offered");
}

#[test]
fn without_arguments_there_is_help_and_exit_code_2() {
    let output = Program::new().run::<&str>(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: cyx"));
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = Program::new().run(&["--version"]);
    assert_eq!(text(&output.stdout), format!("cyx {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn json_replaces_remarks_and_stays_on_one_line() {
    let output = Program::new().run(&["logout", "--json"]);
    assert_eq!(text(&output.stdout), "{\"logged_out\":false}\n");
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn completions_are_printed_for_every_shell() {
    let program = Program::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = program.run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(text(&output.stdout).contains("stop-node"), "{shell}");
    }
}

#[test]
fn a_reader_that_closes_early_is_no_error() {
    let program = Program::new();
    let mut child =
        program.command().args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_mistyped_setting_names_its_file() {
    let program = Program::new();
    std::fs::create_dir(program.home.path().join(".cyxcloud")).unwrap();
    std::fs::write(program.home.path().join(".cyxcloud/config.toml"), "gatway = 'x'\n").unwrap();
    let output = program.run(&["whoami"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("config.toml"), "{}", text(&output.stderr));
}

#[test]
fn an_empty_variable_is_no_gateway() {
    let output = Program::new().command().env("CYXCLOUD_GATEWAY", "").arg("whoami").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
}

#[test]
fn names_on_the_command_line_are_bytes() {
    let program = Program::new();
    let output = program.run(&[OsStr::new("stat"), OsStr::new("b"), OsStr::from_bytes(b"\xff\n")]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let output = program.run(&[OsStr::new("stat"), OsStr::from_bytes(b"\xff"), OsStr::new("k")]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}
