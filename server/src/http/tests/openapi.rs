//! The published description.

use std::collections::BTreeSet;

use cyx_core::error::ErrorCode;

use super::documented::promised;
use super::*;
use crate::http::access::Access;
use crate::http::router::routes;

#[tokio::test]
async fn it_is_served_as_it_is_kept_and_names_exactly_the_routes_there_are() {
    let server = TestServer::new().await;
    let served = Person::new(&server, "ada").call(Method::GET, "/openapi.json", None, None).await.body;
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json")).unwrap();
    assert_eq!(served, serde_json::from_str::<Value>(&kept).unwrap());

    let routed: BTreeSet<(String, String)> =
        routes().iter().map(|route| (route.path.to_owned(), route.method.as_str().to_lowercase())).collect();
    let paths = served["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())))
        .collect();
    assert_eq!(described, routed);
}

/// What every path of a rule can answer, whatever its handler does.
fn by_rule(route: &crate::http::router::Route, operation: &Value) -> Vec<ErrorCode> {
    use ErrorCode::{
        AccountLocked, Internal, InvalidArgument, InvalidCredentials, NotFound, OtpExpired, OtpInvalid,
        PermissionDenied, RateLimited, TokenExpired, TooLarge, Unavailable,
    };
    let mut codes = vec![Internal, Unavailable];
    if !matches!(route.access, Access::Public | Access::Machine) {
        codes.push(RateLimited);
    }
    if !matches!(route.access, Access::Public | Access::Anyone) {
        codes.extend([InvalidCredentials, TokenExpired, PermissionDenied]);
    }
    if route.access == Access::Confirmed {
        codes.extend([OtpInvalid, OtpExpired, AccountLocked]);
    }
    if operation.get("requestBody").is_some() {
        codes.extend([InvalidArgument, TooLarge]);
    }
    if operation["parameters"].as_array().is_some_and(|all| all.iter().any(|parameter| parameter["in"] == "query")) {
        codes.push(InvalidArgument);
    }
    if route.path.contains('{') {
        codes.push(NotFound);
    }
    codes
}

#[test]
fn every_path_says_what_it_can_answer() {
    let document: Value = serde_json::from_str(crate::http::rest::system::OPENAPI).unwrap();
    for route in routes() {
        let (method, path) = (route.method.as_str().to_lowercase(), route.path);
        let statuses = &promised()[&(method.clone(), path.to_owned())];
        let (done, refused): (Vec<_>, Vec<_>) = statuses.iter().partition(|(status, _)| **status < 400);
        assert_eq!(done.len(), 1, "{method} {path} has one way to succeed");
        let mut listed = BTreeSet::new();
        for (status, codes) in refused {
            for code in codes {
                let known =
                    ErrorCode::parse(code).unwrap_or_else(|| panic!("{method} {path}: there is no code {code}"));
                assert_eq!(known.http_status(), *status, "{method} {path}: {code}");
                listed.insert(code.as_str());
            }
        }
        for code in by_rule(&route, &document["paths"][path][&method]) {
            assert!(listed.contains(code.as_str()), "{method} {path} does not document {code}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document: Value = serde_json::from_str(crate::http::rest::system::OPENAPI).unwrap();
    let mut used = BTreeSet::new();
    collect(&document, &mut used);
    let schemas: BTreeSet<String> = document["components"]["schemas"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(used, schemas);
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().and_then(|text| text.strip_prefix("#/components/schemas/")) {
                    Some(schema) if name == "$ref" => {
                        found.insert(schema.to_owned());
                    }
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// Checks that an answer has exactly the fields that the description promises.
#[tokio::test]
async fn answers_have_the_described_fields() {
    let server = TestServer::new().await;
    let (ada, session) = Person::verified(&server, "ada").await;
    let document: Value = serde_json::from_str(crate::http::rest::system::OPENAPI).unwrap();
    let fields = |schema: &str| -> BTreeSet<String> {
        let of = |name: &str| {
            document["components"]["schemas"][name]["properties"]
                .as_object()
                .map(|p| p.keys().cloned().collect::<Vec<_>>())
        };
        match of(schema) {
            Some(own) => own.into_iter().collect(),
            None => {
                let all = document["components"]["schemas"][schema]["allOf"].as_array().unwrap();
                let keys = |part: &Value| match part["$ref"].as_str() {
                    Some(reference) => of(reference.rsplit('/').next().unwrap()).unwrap(),
                    None => part["properties"].as_object().unwrap().keys().cloned().collect(),
                };
                all.iter().flat_map(keys).collect()
            }
        }
    };
    let of = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(of(&session.verified), fields("VerifyResponse"));
    assert_eq!(of(&session.verified["account"]), fields("Account"));
    assert_eq!(of(&ada.get("/api/v1/quota", &session.access).await.body), fields("Quota"));
    let mut valid = fields("ValidateResponse");
    assert!(valid.remove("wallet"), "only of who logged in with one");
    assert_eq!(of(&ada.post("/api/auth/validate", json!({"token": session.access})).await.body), valid);
    let text = ada.post("/api/v1/auth/challenge", json!({"wallet": "1".repeat(32)})).await.body;
    let mut described = fields("WalletChallengeResponse");
    assert!(described.remove("username"), "only of a link");
    assert_eq!(of(&text), described);
    assert_eq!(of(&ada.begin().await.body), fields("LoginResponse"));
    assert_eq!(of(&ada.refresh(&session.refresh).await.body), fields("RefreshResponse"));
    assert_eq!(
        of(&ada.post("/api/auth/prelogin", json!({"email": "x@example.org"})).await.body),
        fields("PreloginResponse")
    );
    let body = json!({"hostname": "h", "os": "o"});
    let machine = ada.call(Method::POST, "/api/machines/register", Some("enrol for tests"), Some(body)).await.body;
    assert_eq!(of(&machine), fields("MachineRegisterResponse"));
}
