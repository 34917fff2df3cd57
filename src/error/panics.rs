//! Panics of libraries, as errors.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// The text of a panic that is an error.
type Tell = fn(&dyn Any) -> Option<String>;

thread_local! {
    static TELL: Cell<Option<Tell>> = const { Cell::new(None) };
}

/// Runs `body`. Where it panics with what `tell` has a text for, nothing is printed and that is the error;
/// any other panic goes its way.
///
/// # Errors
/// What `tell` says.
pub fn caught<T>(body: impl FnOnce() -> T, tell: Tell) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if TELL.get().and_then(|tell| tell(info.payload())).is_none() {
                report(info);
            }
        }));
    });
    let before = TELL.replace(Some(tell));
    let done = panic::catch_unwind(AssertUnwindSafe(body));
    TELL.set(before);
    done.map_err(|panic| match tell(panic.as_ref()) {
        Some(text) => text,
        None => panic::resume_unwind(panic),
    })
}

/// The text of any panic.
pub fn any(panic: &dyn Any) -> Option<String> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    Some(text.unwrap_or("it cannot be read").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_next_call_goes_on() {
        assert_eq!(
            caught(|| -> u8 { panic!("at {}", 1) }, any),
            Err("at 1".into())
        );
        assert_eq!(
            caught(|| -> u8 { panic!("there") }, any),
            Err("there".into())
        );
        assert_eq!(caught(|| 3, any), Ok(3));
        let others = || caught(|| -> u8 { panic!("another") }, |_| None);
        assert_eq!(caught(others, any), Err("another".into()));
    }
}
