//! A device of candle's as this project uses it.

use candle_core::{Device, Result};

/// Opens GPU `ordinal`, counted from 0, with one stream for all threads.
///
/// candle's own default is a stream of the calling thread, and nothing orders the streams of two threads; and cudarc
/// makes two events for each allocation, by which several streams could wait for each other.
///
/// # Errors
/// No driver, no such GPU, or no memory for a context.
pub fn open(ordinal: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(ordinal)?;
    // SAFETY: events order the uses of a tensor by several streams. Every tensor of this device is made, used and freed
    // on the one stream that was made above.
    unsafe { device.as_cuda_device()?.disable_event_tracking() };
    Ok(device)
}
