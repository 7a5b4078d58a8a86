//! How each call is made, in some languages: written from its description.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{HOME, openapi};

/// What a call is made with.
struct Sample {
    method: String,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

/// Where a control plane is, in examples.
const HOST: &str = "http://127.0.0.1:4500";

/// A blob, in examples.
const BLOB: &str = "AGWKSVxMdoyCHdYpfXRyCPHoE2zdwqTE5-_h4FxKKlc";

/// Samples of a call, as documentation tools read them.
pub(super) fn of(path: &str, method: &str, call: &Value, schemas: &Value) -> Value {
    let body = openapi::field(call, &["requestBody", "content", "application/json", "schema"])
        .and_then(|schema| example(&Value::Object(schema.clone()), schemas, 0));
    let mut headers = vec![("X-API-Key", String::new())];
    if call["security"] == json!([{}]) {
        headers.clear();
    }
    let parameters = call["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if parameters.iter().any(|it| it["name"] == "If-Match") {
        headers.push(("If-Match", "\"r1\"".to_owned()));
    }
    if body.is_some() {
        headers.push(("Content-Type", "application/json".to_owned()));
    }
    let path = format!("{HOME}{}", path.replace("{id}", thing(path)));
    let sample = Sample { method: method.to_ascii_uppercase(), path, headers, body };
    json!([
        {"lang": "Shell", "label": "curl", "source": sample.curl()},
        {"lang": "JavaScript", "label": "JavaScript", "source": sample.javascript()},
        {"lang": "Python", "label": "Python", "source": sample.python()},
        {"lang": "PHP", "label": "PHP", "source": sample.php()},
    ])
}

/// What an id in a path may be.
fn thing(path: &str) -> &'static str {
    match path.split('/').nth(1).unwrap_or_default() {
        "keys" => "ci",
        "purges" | "changes" => "chg_01jd8m5x2q9v7k3w4r6t8y0z1a",
        "preload" => "pre_01jd8m5x2q9v7k3w4r6t8y0z1a",
        "hooks" => "4f8k2m9q1r",
        _ => BLOB,
    }
}

/// What a schema's examples say, as deep as people read.
fn example(schema: &Value, schemas: &Value, depth: u8) -> Option<Value> {
    if depth > 4 {
        return None;
    }
    if let Some(example) = schema.get("example") {
        return Some(example.clone());
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next()) {
        return example(schemas.get(name)?, schemas, depth + 1);
    }
    let choices = ["oneOf", "anyOf", "allOf"].iter().find_map(|it| schema.get(*it)?.as_array());
    if let Some(choices) = choices {
        return choices.iter().find_map(|choice| example(choice, schemas, depth + 1));
    }
    if let Some(items) = schema.get("items") {
        return example(items, schemas, depth + 1).map(|item| json!([item]));
    }
    let properties = schema.get("properties")?.as_object()?;
    let of = |(name, schema): (&String, &Value)| {
        example(schema, schemas, depth + 1).map(|value| (name.clone(), value))
    };
    let object: Map<String, Value> = properties.iter().filter_map(of).collect();
    (!object.is_empty()).then_some(Value::Object(object))
}

impl Sample {
    fn body_text(&self) -> Option<String> {
        self.body.as_ref().map(ToString::to_string)
    }

    fn curl(&self) -> String {
        let Self { method, path, headers, .. } = self;
        let mut text = format!("curl -X {method} \"{HOST}{path}\"");
        for (name, value) in headers {
            match value.is_empty() {
                true => put(&mut text, format_args!(" \\\n  -H \"{name}: $WCDN_API_KEY\"")),
                false => put(&mut text, format_args!(" \\\n  -H '{name}: {value}'")),
            }
        }
        if let Some(body) = self.body_text() {
            put(&mut text, format_args!(" \\\n  -d '{}'", body.replace('\'', "'\\''")));
        }
        text
    }

    fn javascript(&self) -> String {
        let Self { method, path, headers, .. } = self;
        let mut text = format!("const response = await fetch(\"{HOST}{path}\", {{\n");
        put(&mut text, format_args!("  method: \"{method}\",\n  headers: {{\n"));
        for (name, value) in headers {
            match value.is_empty() {
                true => put(&mut text, format_args!("    \"{name}\": process.env.WCDN_API_KEY,\n")),
                false => put(&mut text, format_args!("    \"{name}\": {},\n", json!(value))),
            }
        }
        text.push_str("  },\n");
        if let Some(body) = self.body_text() {
            put(&mut text, format_args!("  body: JSON.stringify({body}),\n"));
        }
        text.push_str("});\nconsole.log(response.status, await response.text());");
        text
    }

    fn python(&self) -> String {
        let Self { method, path, headers, .. } = self;
        let mut text = "import os\n\nimport requests\n\nresponse = requests.request(\n".to_owned();
        put(&mut text, format_args!("    \"{method}\",\n    \"{HOST}{path}\",\n    headers={{\n"));
        for (name, value) in headers {
            match value.is_empty() {
                true => {
                    put(
                        &mut text,
                        format_args!("        \"{name}\": os.environ[\"WCDN_API_KEY\"],\n"),
                    );
                }
                false => put(&mut text, format_args!("        \"{name}\": {},\n", json!(value))),
            }
        }
        text.push_str("    },\n");
        if let Some(body) = self.body_text() {
            put(&mut text, format_args!("    data={},\n", json!(body)));
        }
        text.push_str("    timeout=30,\n)\nprint(response.status_code, response.text)");
        text
    }

    fn php(&self) -> String {
        let Self { method, path, headers, .. } = self;
        let mut text = format!("<?php\n$curl = curl_init(\"{HOST}{path}\");\n");
        put(&mut text, format_args!("curl_setopt($curl, CURLOPT_CUSTOMREQUEST, \"{method}\");\n"));
        text.push_str("curl_setopt($curl, CURLOPT_RETURNTRANSFER, true);\n");
        text.push_str("curl_setopt($curl, CURLOPT_HTTPHEADER, [\n");
        for (name, value) in headers {
            match value.is_empty() {
                true => {
                    put(&mut text, format_args!("    \"{name}: \" . getenv(\"WCDN_API_KEY\"),\n"));
                }
                false => put(&mut text, format_args!("    '{name}: {value}',\n")),
            }
        }
        text.push_str("]);\n");
        if let Some(body) = self.body_text() {
            let body = body.replace('\\', "\\\\").replace('\'', "\\'");
            put(&mut text, format_args!("curl_setopt($curl, CURLOPT_POSTFIELDS, '{body}');\n"));
        }
        text.push_str("echo curl_exec($curl);");
        text
    }
}

fn put(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("writing to a string succeeds");
}
