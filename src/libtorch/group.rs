//! Processes that compute together, by PyTorch's own means: a store where they meet, sums over all.

use std::ffi::{c_char, c_void, CString};
use std::time::Duration;

use anyhow::Result;
use tch::Tensor;
use torch_sys::C_tensor;

use super::{check, pointers};

extern "C" {
    fn covalign_group_join(
        host: *const c_char,
        port: u16,
        prefix: *const c_char,
        serves: bool,
        rank: i32,
        size: i32,
        meet: i32,
        patience: i32,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn covalign_group_leave(group: *mut c_void);
    fn covalign_group_sum(
        group: *mut c_void,
        tensors: *const *const C_tensor,
        count: usize,
    ) -> *mut c_char;
    fn covalign_group_set(
        group: *mut c_void,
        key: *const c_char,
        value: *const c_char,
        length: usize,
    ) -> *mut c_char;
    fn covalign_group_get(
        group: *mut c_void,
        key: *const c_char,
        value: *mut *mut c_char,
        length: *mut usize,
    ) -> *mut c_char;
    fn covalign_free(text: *mut c_char);
}

/// Where processes meet.
pub struct Meeting<'a> {
    pub host: &'a str,
    pub port: u16,
    /// What tells one meeting at a store from another.
    pub name: &'a str,
    /// Whether this process offers the store.
    pub serves: bool,
    pub rank: usize,
    pub size: usize,
    /// How long they wait for each other at the start.
    pub meet: Duration,
    /// How long one waits for the others in what all take part in.
    pub patience: Duration,
}

/// Processes that have met. Every one must call the same operations in the same order.
pub struct Group(*mut c_void);

// The store and Gloo lock for themselves, and sums are asked for by the training thread alone.
unsafe impl Send for Group {}
unsafe impl Sync for Group {}

impl Group {
    /// Meets the others.
    ///
    /// # Errors
    /// Where they do not come in time, or the store cannot be reached.
    pub fn join(meeting: &Meeting) -> Result<Group> {
        let host = CString::new(meeting.host)?;
        let name = CString::new(meeting.name)?;
        let mut group = std::ptr::null_mut();
        check(unsafe {
            covalign_group_join(
                host.as_ptr(),
                meeting.port,
                name.as_ptr(),
                meeting.serves,
                meeting.rank as i32,
                meeting.size as i32,
                meeting.meet.as_secs() as i32,
                meeting.patience.as_secs() as i32,
                &mut group,
            )
        })?;
        Ok(Group(group))
    }

    /// Puts into each tensor the sum of what all processes have there; the same bits in all of them.
    ///
    /// # Errors
    /// Where another process has gone.
    pub fn sum<'a>(&self, tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
        let tensors = pointers(tensors);
        check(unsafe { covalign_group_sum(self.0, tensors.as_ptr(), tensors.len()) })
    }

    /// Leaves `value` at the store.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let key = CString::new(key)?;
        let bytes = value.as_ptr().cast();
        check(unsafe { covalign_group_set(self.0, key.as_ptr(), bytes, value.len()) })
    }

    /// What somebody has left at the store under `key`, if anybody has.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let key = CString::new(key)?;
        let (mut value, mut length) = (std::ptr::null_mut(), 0);
        check(unsafe { covalign_group_get(self.0, key.as_ptr(), &mut value, &mut length) })?;
        if value.is_null() {
            return Ok(None);
        }
        let bytes = unsafe { std::slice::from_raw_parts(value.cast::<u8>(), length) }.to_vec();
        unsafe { covalign_free(value) };
        Ok(Some(bytes))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        unsafe { covalign_group_leave(self.0) }
    }
}
