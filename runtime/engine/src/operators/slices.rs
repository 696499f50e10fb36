//! The arithmetic of windows and slices.
//!
//! Time is cut into slices of `gcd(size, slide)`, identified by their ends. A window is the slices
//! whose ends lie in `(end - size, end]`; so a row is kept once, even if it is in many windows.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, cast::AsArray, types::Int64Type};
use arrow_schema::{DataType as Arrow, TimeUnit};
use streamkeeper_protocol::plan::Window;

use crate::expr::conversion;

/// A window's shape, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slicing {
    slice: i64,
    size: i64,
    slide: i64,
    offset: i64,
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Slicing {
    /// Of a window in a zone that is `zone_ms` ahead of UTC.
    pub(super) fn new(window: Window, zone_ms: i64) -> Result<Self, String> {
        let (size, slide, offset) = match window {
            Window::Tumble { size, offset } => (size, size, offset),
            Window::Hop {
                slide,
                size,
                offset,
            } => (size, slide, offset),
        };
        if size <= 0 || slide <= 0 || size % slide != 0 {
            return Err(format!(
                "a window of {size} ms every {slide} ms: both must be positive, and the size a multiple of the slide"
            ));
        }
        Ok(Self {
            slice: gcd(size, slide),
            size,
            slide,
            offset: offset.wrapping_sub(zone_ms),
        })
    }

    /// End of the slice that holds a time.
    pub(super) fn slice_end(self, time: i64) -> i64 {
        time.wrapping_sub(time.wrapping_sub(self.offset).rem_euclid(self.slice))
            .wrapping_add(self.slice)
    }

    /// Ends of the slices that hold these times. Neighbours mostly share one, which spares a
    /// division.
    pub(super) fn slice_ends(self, times: &[i64]) -> impl Iterator<Item = i64> {
        let mut end = i64::MIN;
        times.iter().map(move |&time| {
            if time >= end || time < end.wrapping_sub(self.slice) {
                end = self.slice_end(time);
            }
            end
        })
    }

    /// End of the first window with this slice.
    pub(super) fn first_window(self, slice_end: i64) -> i64 {
        slice_end.wrapping_add(
            self.offset
                .wrapping_add(self.size)
                .wrapping_sub(slice_end)
                .rem_euclid(self.slide),
        )
    }

    /// End of the last window with this slice.
    pub(super) fn last_window(self, slice_end: i64) -> i64 {
        self.first_window(slice_end)
            .wrapping_add(self.size - self.slide)
    }

    /// End of the first window with this slice that fires after `watermark`.
    pub(super) fn next_window(self, slice_end: i64, watermark: i64) -> i64 {
        let first = self.first_window(slice_end);
        if first.wrapping_sub(1) > watermark {
            return first;
        }
        let behind = watermark.wrapping_sub(first).wrapping_add(1);
        first.wrapping_add((behind / self.slide + 1).wrapping_mul(self.slide))
    }

    /// Whether all windows with this slice are past.
    pub(super) fn is_late(self, slice_end: i64, watermark: i64) -> bool {
        self.last_window(slice_end).wrapping_sub(1) <= watermark
    }

    /// Start of the window with this end.
    pub(super) fn start(self, window_end: i64) -> i64 {
        window_end.wrapping_sub(self.size)
    }

    /// Whether a window is one slice.
    pub(super) fn is_tumbling(self) -> bool {
        self.slice == self.size
    }
}

/// Timestamps and BIGINT as epoch milliseconds.
pub(super) fn epoch_millis(array: &ArrayRef) -> Result<ArrayRef, String> {
    let wide = conversion::array_as_i64(array).map_err(|error| error.to_string())?;
    Ok(match array.data_type() {
        Arrow::Timestamp(TimeUnit::Microsecond, _) => Arc::new(
            wide.as_primitive::<Int64Type>()
                .unary::<_, Int64Type>(|micros| micros.div_euclid(1000)),
        ),
        _ => wide,
    })
}

/// Epoch milliseconds as a timestamp of Arrow type `to`.
pub(super) fn timestamps(millis: &[i64], to: &Arrow) -> Result<ArrayRef, String> {
    let values: Int64Array = match to {
        Arrow::Timestamp(TimeUnit::Microsecond, _) => millis
            .iter()
            .map(|ms| Some(ms.wrapping_mul(1000)))
            .collect(),
        _ => millis.iter().map(|ms| Some(*ms)).collect(),
    };
    conversion::from_i64(Arc::new(values), to).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_window_of_a_row_is_found_from_its_slice(slide in 1_i64..50, times in 1_i64..8, offset in -30_i64..30, time in -1000_i64..1000, watermark in -1000_i64..1000) {
            let size = slide * times;
            let slicing = Slicing::new(Window::Hop { slide, size, offset }, 0).unwrap();
            let slice = slicing.slice_end(time);
            prop_assert!(slice - slicing.slice <= time && time < slice);
            let times = [time, time, watermark, time + 1, time];
            let ends: Vec<i64> = slicing.slice_ends(&times).collect();
            prop_assert_eq!(ends, times.map(|time| slicing.slice_end(time)));
            let windows: Vec<i64> = (-3000..3000).filter(|end: &i64| (end - size - offset).rem_euclid(slide) == 0 && end - size <= time && time < *end).collect();
            prop_assert_eq!(slicing.first_window(slice), windows[0]);
            prop_assert_eq!(slicing.last_window(slice), *windows.last().unwrap());
            prop_assert_eq!(slicing.is_late(slice, watermark), windows.iter().all(|end| end - 1 <= watermark));
            if let Some(next) = windows.iter().find(|end| **end - 1 > watermark) {
                prop_assert_eq!(slicing.next_window(slice, watermark), *next);
            }
            for end in windows {
                prop_assert!(slicing.start(end) < slice && slice <= end);
            }
        }
    }

    #[test]
    fn windows_follow_the_clock_of_the_zone() {
        let day = 86_400_000;
        let slicing = Slicing::new(
            Window::Tumble {
                size: day,
                offset: 0,
            },
            2 * 3_600_000,
        )
        .unwrap();
        assert_eq!(slicing.slice_end(0), day - 2 * 3_600_000);
        assert!(
            Slicing::new(
                Window::Hop {
                    slide: 7,
                    size: 10,
                    offset: 0
                },
                0
            )
            .is_err()
        );
        assert!(Slicing::new(Window::Tumble { size: 0, offset: 0 }, 0).is_err());
    }
}
