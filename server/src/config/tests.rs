use super::*;

fn resolve(change: impl FnOnce(&mut Options)) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options { data_dir: Some(folder.path().to_owned()), ..Options::default() };
    change(&mut options);
    Config::resolve(options)
}

#[test]
fn plain_text_is_refused_off_loopback_unless_a_proxy_stands_in_front() {
    let open = Some("0.0.0.0:8080".parse().unwrap());
    assert!(resolve(|options| options.http = open).is_err());
    assert!(resolve(|options| options.grpc = open).is_err());
    assert!(resolve(|options| options.identity = open).is_err());
    let proxied = resolve(|options| {
        options.http = open;
        options.behind_proxy = Some(true);
    });
    assert!(proxied.is_ok());
    let tls = resolve(|options| {
        options.http = open;
        options.tls_cert = Some("cert.pem".into());
        options.tls_key = Some("key.pem".into());
    });
    assert!(tls.is_ok());
}

#[test]
fn one_address_for_two_listeners_is_refused() {
    let with = |http: &str, grpc: &str, identity: Option<&str>| {
        resolve(|options| {
            options.http = Some(http.parse().unwrap());
            options.grpc = Some(grpc.parse().unwrap());
            options.identity = identity.map(|address| address.parse().unwrap());
            options.behind_proxy = Some(true);
        })
    };
    for (http, grpc, identity) in [
        ("127.0.0.1:8080", "127.0.0.1:8080", None),
        ("0.0.0.0:8080", "127.0.0.1:8080", None),
        ("[::1]:8080", "[::]:8080", None),
        ("127.0.0.1:1", "127.0.0.1:2", Some("127.0.0.1:2")),
        ("127.0.0.1:1", "127.0.0.1:2", Some("0.0.0.0:1")),
    ] {
        let refused = with(http, grpc, identity).unwrap_err().to_string();
        assert!(refused.contains("is taken by --"), "{refused}");
    }
    for (http, grpc, identity) in [
        ("127.0.0.1:0", "127.0.0.1:0", Some("127.0.0.1:0")),
        ("127.0.0.1:8080", "127.0.0.2:8080", None),
        ("127.0.0.1:8080", "[::1]:8080", None),
        ("127.0.0.1:1", "127.0.0.1:2", Some("127.0.0.1:3")),
    ] {
        assert!(with(http, grpc, identity).is_ok(), "{http} {grpc} {identity:?}");
    }
}

#[test]
fn the_port_for_nodes_is_told_if_it_is_known() {
    let port = |behind_proxy, grpc: &str| {
        let config = resolve(|options| {
            options.behind_proxy = Some(behind_proxy);
            options.grpc = Some(grpc.parse().unwrap());
        });
        config.unwrap().node_port()
    };
    assert_eq!(port(false, "127.0.0.1:7000"), Some(7000));
    assert_eq!(port(true, "127.0.0.1:7000"), None, "the proxy may have another");
    assert_eq!(port(false, "127.0.0.1:0"), None);
}

#[test]
fn half_of_a_pair_is_refused() {
    assert!(resolve(|options| options.tls_cert = Some("cert.pem".into())).is_err());
    let user_without_password = resolve(|options| {
        options.smtp_host = Some("mail.example".into());
        options.smtp_username = Some("cyx".into());
    });
    assert!(user_without_password.is_err());
}

#[test]
fn a_mail_password_never_travels_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let with = |host: &str, security: &str| {
        resolve(|options| {
            options.smtp_host = Some(host.into());
            options.smtp_username = Some("cyx".into());
            options.smtp_security = Some(security.into());
            options.smtp_password_file = Some(file.clone());
        })
    };
    assert!(with("mail.example", "none").is_err());
    assert!(with("localhost", "none").is_ok());
    let MailRoute::Smtp(smtp) = with("mail.example", "starttls").unwrap().mail else { panic!("not a mail server") };
    assert_eq!(smtp.port, 587);
    assert_eq!(smtp.credentials.unwrap().1.expose(), b"secret");
}

#[test]
fn the_file_in_the_data_folder_is_read_and_a_missing_named_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("server.toml"), "trash-seconds = 5\n").unwrap();
    let options = Options { data_dir: Some(folder.path().to_owned()), ..Options::default() };
    assert_eq!(Config::resolve(options).unwrap().trash, Duration::from_secs(5));
    assert!(resolve(|options| options.config = Some("/nonexistent/server.toml".into())).is_err());
}

#[test]
fn values_that_cannot_work_are_refused() {
    assert!(resolve(|options| options.grant_seconds = Some(3601)).is_err());
    assert!(resolve(|options| options.heartbeat_seconds = Some(0)).is_err());
    assert!(resolve(|options| options.plan = Some("gold".into())).is_err());
    assert!(resolve(|options| options.smtp_security = Some("maybe".into())).is_err(), "even without a mail server");
    assert!(resolve(|options| options.mail_from = Some("nobody".into())).is_err());
    for (admins, valid) in [("Ada@example.org, b@c", true), ("", true), ("notanemail", false), ("a@b,c d", false)] {
        assert_eq!(resolve(|options| options.admin = Some(admins.into())).is_ok(), valid, "{admins}");
    }
}

#[test]
fn files_and_addresses_are_tried_out_before_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key, other, none] =
        ["cert.pem", "key.pem", "other.pem", "none.pem"].map(|name| folder.path().join(name));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&other, stranger.signing_key.serialize_pem()).unwrap();
    let with = |cert: &PathBuf, key: &PathBuf| {
        let config = resolve(|options| {
            options.tls_cert = Some(cert.clone());
            options.tls_key = Some(key.clone());
        });
        config.unwrap().try_out()
    };
    with(&cert, &key).unwrap();
    for (cert, key) in [(&none, &key), (&cert, &none), (&cert, &cert), (&key, &key), (&cert, &other)] {
        assert!(with(cert, key).is_err(), "{} {}", cert.display(), key.display());
    }
    let missing = with(&none, &key).unwrap_err().to_string();
    assert!(missing.contains("none.pem"), "{missing}");
    let url = folder.path().join("url");
    std::fs::write(&url, "postgres://[/cyx").unwrap();
    let config = resolve(|options| options.database_url_file = Some(url)).unwrap();
    assert!(config.try_out().is_err());
    let data = folder.path().join("data");
    let config = resolve(|options| options.data_dir = Some(data.clone())).unwrap();
    config.try_out().unwrap();
    assert!(!data.exists(), "nothing is made");
}

#[test]
fn secrets_and_passwords_are_not_shown() {
    let config = crate::test_support::config(Path::new("/nonexistent"));
    let shown = format!("{config:?} {:?}", Location::Postgres("postgres://u:hunter2@h/d".into()));
    assert!(!shown.contains("a secret for tests only") && !shown.contains("hunter2"));
}

#[test]
fn the_identity_part_alone_needs_what_it_shares_with_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (url, secret) = (folder.path().join("url"), folder.path().join("secret"));
    std::fs::write(&url, "postgres://localhost/cyx\n").unwrap();
    std::fs::write(&secret, "a secret that all share\n").unwrap();
    let with = |url: Option<&PathBuf>, secret: Option<&PathBuf>, address: Option<&str>| {
        resolve(|options| {
            options.role = Some("identity".into());
            options.database_url_file = url.cloned();
            options.jwt_secret_file = secret.cloned();
            options.identity = address.map(|address| address.parse().unwrap());
            // It does not listen there, so it may say what it likes.
            options.http = Some("0.0.0.0:8080".parse().unwrap());
        })
    };
    assert!(with(None, Some(&secret), None).is_err(), "an embedded database is nobody else's");
    assert!(with(Some(&url), None, None).is_err(), "a secret of its own is nobody else's");
    assert!(with(Some(&url), Some(&secret), Some("0.0.0.0:3002")).is_err(), "plain text off loopback");
    let config = with(Some(&url), Some(&secret), None).unwrap();
    assert_eq!((config.role, config.identity), (ProcessRole::Identity, Some("127.0.0.1:3002".parse().unwrap())));
    assert_eq!(config.node_port(), None, "others serve nodes");
    assert!(resolve(|options| options.role = Some("half".into())).is_err());
    assert!(
        resolve(|options| options.role = Some("rebalancer".into())).is_err(),
        "an embedded database has one server"
    );
    let loopback = Some("127.0.0.1:8080".parse().unwrap());
    let rebalancer = resolve(|options| {
        options.role = Some("rebalancer".into());
        options.database_url_file = Some(url.clone());
        // It has one listener, whatever is said of others.
        (options.http, options.grpc) = (loopback, loopback);
    });
    assert_eq!(rebalancer.unwrap().role, ProcessRole::Rebalancer);
    assert_eq!(resolve(|_| {}).unwrap().identity, None);
}

#[test]
fn a_domain_is_a_host_and_calls_are_allowed() {
    for domain in ["", "https://cyx.example.org", "two words", "a\nb"] {
        assert!(resolve(|options| options.domain = Some(domain.into())).is_err(), "{domain}");
    }
    assert_eq!(resolve(|options| options.domain = Some("cyx.example.org".into())).unwrap().domain, "cyx.example.org");
    assert!(resolve(|options| options.account_calls_per_second = Some(0)).is_err());
}
