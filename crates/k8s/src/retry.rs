//! Which failures of the API server are worth another try, and for how long.

use std::future::Future;
use std::time::Duration;

use http::StatusCode;
use kube::core::Status;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::remedy::Flaw;

/// The first pause between tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a failure means to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The API server says that the object is not there.
    Missing,
    /// The object that was to be created is there already.
    Exists,
    /// The API server does not know who asks: the token has run out, or ended with the pod that it belonged to; the client certificate has
    /// run out, or is of an authority that it does not trust.
    Unauthorized,
    /// The certificate that the API server shows is not one that we may trust.
    Untrusted(Flaw),
    /// We may not do that.
    Forbidden,
    /// The API server has no objects of this kind: a CRD is not there, or it is too old.
    UnknownKind,
    /// It will not get better by asking again: invalid, not to be understood.
    Final,
    /// The server is away, overloaded, or starting.
    Transient,
}

/// Judges a failure.
pub(crate) fn judge(error: &kube::Error) -> Verdict {
    let kube::Error::Api(status) = error else {
        if let Some(flaw) = Flaw::of(error) {
            return Verdict::Untrusted(flaw);
        }
        return match error {
            // A token file that is not there: nothing that the server could do about.
            kube::Error::Service(e) if e.is::<cni::Error>() => Verdict::Final,
            // Connection refused, reset, timed out, TLS handshake cut off: the server is away or just coming up.
            kube::Error::Service(_) | kube::Error::HyperError(_) => Verdict::Transient,
            _ => Verdict::Final,
        };
    };
    match StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR) {
        StatusCode::NOT_FOUND if status.reason == "NotFound" => Verdict::Missing,
        // Not about an object: of a path that the API server does not serve it says no more than "404 page not found".
        StatusCode::NOT_FOUND => Verdict::UnknownKind,
        // Another object has that name by now, and the UID of the one that was meant is not to be changed into its.
        StatusCode::UNPROCESSABLE_ENTITY if is_about(status, "metadata.uid") => Verdict::Missing,
        StatusCode::FORBIDDEN => Verdict::Forbidden,
        StatusCode::CONFLICT if status.reason == "AlreadyExists" => Verdict::Exists,
        StatusCode::UNAUTHORIZED => Verdict::Unauthorized,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Verdict::Transient,
        code if code.is_server_error() => Verdict::Transient,
        _ => Verdict::Final,
    }
}

/// One of the fields that are wrong is this one.
fn is_about(status: &Status, field: &str) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.field == field)
}

/// A failure after all tries.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) verdict: Verdict,
    /// The last error's text.
    pub(crate) message: String,
    pub(crate) tries: u32,
}

/// Repeats `request` while its failures are transient and `deadline` has not passed; no try outlives the deadline.
pub(crate) async fn until<T, F>(deadline: Instant, mut request: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let mut pause = FIRST_PAUSE;
    let mut last = String::new();
    for tries in 1.. {
        match timeout_at(deadline, request()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => {
                let verdict = judge(&error);
                last = text(&error);
                if verdict != Verdict::Transient || Instant::now() + pause >= deadline {
                    return Err(Failure { verdict, message: last, tries });
                }
            }
            Err(_) => {
                let message = if last.is_empty() { "no answer in time".to_owned() } else { last };
                return Err(Failure { verdict: Verdict::Transient, message, tries });
            }
        }
        sleep_until(Instant::now() + pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    unreachable!("the tries end with the deadline")
}

/// An error with its causes, each once: kube's own text stops at "ServiceError: client error".
pub(crate) fn text(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, reason: &str) -> kube::Error {
        kube::Error::Api(Status::failure("said so", reason).with_code(code).boxed())
    }

    #[test]
    fn what_is_worth_another_try() {
        assert_eq!(judge(&api(404, "NotFound")), Verdict::Missing);
        assert_eq!(judge(&api(409, "AlreadyExists")), Verdict::Exists);
        assert_eq!(judge(&api(404, "Failed to parse error data")), Verdict::UnknownKind);
        assert_eq!(judge(&api(403, "Forbidden")), Verdict::Forbidden);
        assert_eq!(judge(&api(401, "Unauthorized")), Verdict::Unauthorized);
        for code in [400, 409, 422] {
            assert_eq!(judge(&api(code, "")), Verdict::Final, "{code}");
        }
        for code in [408, 429, 500, 502, 503, 504] {
            assert_eq!(judge(&api(code, "")), Verdict::Transient, "{code}");
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn a_final_error_is_not_repeated() {
        let mut calls = 0;
        let failure = run(async {
            until(Instant::now() + Duration::from_secs(5), || {
                calls += 1;
                async { Err::<(), _>(api(403, "Forbidden")) }
            })
            .await
        });
        assert_eq!((failure.unwrap_err().verdict, calls), (Verdict::Forbidden, 1));
    }

    #[test]
    fn a_transient_error_is_repeated_until_it_goes_well() {
        let mut calls = 0;
        let value = run(async {
            until(Instant::now() + Duration::from_secs(5), || {
                calls += 1;
                let answer = if calls < 3 { Err(api(503, "")) } else { Ok(7) };
                async { answer }
            })
            .await
        });
        assert_eq!((value.unwrap(), calls), (7, 3));
    }

    #[test]
    fn a_server_that_does_not_answer_is_given_up_at_the_deadline() {
        let failure = run(async {
            until(Instant::now() + Duration::from_millis(50), std::future::pending::<Result<(), kube::Error>>).await
        });
        assert_eq!(failure.unwrap_err().verdict, Verdict::Transient);
    }
}
