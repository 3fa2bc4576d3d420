//! What a function in Rust with AWS's client sees and can do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::streaming::{channel, Body, Response};
use lambda_runtime::{run, service_fn, Error, LambdaEvent};
use serde_json::{json, Value};

static INVOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var("FAIL_INIT").is_ok() {
        return Err("cannot start".into());
    }
    if std::env::var("STREAM").is_ok() {
        return run(service_fn(stream)).await;
    }
    run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let invocations = INVOCATIONS.fetch_add(1, Ordering::Relaxed) + 1;
    let text = event.payload["text"].as_str().unwrap_or("").to_string();
    match event.payload["do"].as_str() {
        Some("fail") => Err(text.into()),
        Some("panic") => panic!("{text}"),
        Some("exit") => std::process::exit(3),
        Some("sleep") => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(Value::Null)
        }
        _ => {
            println!("a line: {text}");
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let left = Duration::from_millis(event.context.deadline).saturating_sub(now);
            Ok(json!({
                "text": text,
                "invocations": invocations,
                "requestId": event.context.request_id,
                "arn": event.context.invoked_function_arn,
                "memoryMb": event.context.env_config.memory,
                "remainingMs": left.as_millis() as u64,
            }))
        }
    }
}

async fn stream(event: LambdaEvent<Value>) -> Result<Response<Body>, Error> {
    let (mut sender, body) = channel();
    let count = event.payload["count"].as_u64().unwrap_or(3);
    tokio::spawn(async move {
        for number in 0..count {
            if sender.send_data(format!("part {number}\n").into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    Ok(Response::from(body))
}
