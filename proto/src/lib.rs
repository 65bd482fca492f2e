//! The wire: .proto files, generated code, validated conversions.
