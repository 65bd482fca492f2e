//! Compiles the .proto files with `protox`, so that no `protoc` has to be installed, and writes down which of their fields are lists, for
//! `src/bounded.rs`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["cyx/chunk/v1/chunk.proto", "cyx/node/v1/node.proto", "cyx/meta/v1/meta.proto"];
    println!("cargo::rerun-if-changed=cyx");
    let descriptors = protox::compile(files, ["."])?;
    let mut lists = String::new();
    for message in DescriptorPool::from_file_descriptor_set(descriptors.clone())?.all_messages() {
        let fields: Vec<String> =
            message.fields().filter_map(|field| line(&field).transpose()).collect::<Result<_, _>>()?;
        writeln!(
            lists,
            "impl Bounded for {} {{ const FIELDS: &'static [Field] = &[{}]; }}",
            rust_type(&message)?,
            fields.join(", ")
        )?;
    }
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("bounded.rs"), lists)?;
    // `bytes` fields become reference-counted `Bytes`, so that chunk data is never copied on its way.
    let services = tonic_prost_build::configure().bytes(".").build_transport(true);
    services.codec_path("crate::bounded::BoundedCodec").compile_fds(descriptors)?;
    Ok(())
}

/// What the walk over a message has to know of a field: nothing of one that is no list and cannot have lists in it.
fn line(field: &FieldDescriptor) -> Result<Option<String>, Box<dyn Error>> {
    let (item, inside) = match field.kind() {
        Kind::Message(message) => {
            let name = rust_type(&message)?;
            (name.clone(), format!("<{name} as Bounded>::FIELDS"))
        }
        _ if !field.is_list() => return Ok(None),
        Kind::Bytes => ("prost::bytes::Bytes".to_owned(), "&[]".to_owned()),
        Kind::String => ("String".to_owned(), "&[]".to_owned()),
        _ => {
            return Err(
                format!("{field:?}: src/bounded.rs cannot count lists of numbers yet, which may be packed").into()
            );
        }
    };
    let item = if field.is_list() { format!("size_of::<{item}>()") } else { "0".to_owned() };
    Ok(Some(format!("Field {{ number: {}, item: {item}, inside: {inside} }}", field.number())))
}

/// The generated type of a message that stands on its own. Those of maps and groups do not.
fn rust_type(message: &MessageDescriptor) -> Result<String, Box<dyn Error>> {
    if message.parent_message().is_some() {
        return Err(
            format!("{message:?}: src/bounded.rs knows neither maps nor groups nor messages inside others").into()
        );
    }
    Ok(message.full_name().replacen("cyx", "crate", 1).replace('.', "::"))
}
