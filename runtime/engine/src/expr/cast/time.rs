//! Dates, times and timestamps to each other.

use std::sync::Arc;

use arrow_array::types::Int64Type;
use streamkeeper_connectors::batch::arrow_type;
use streamkeeper_protocol::{calendar::DAY_MICROS, types::DataType};

use super::Cast;
use crate::expr::{int64, node::Kernel, value::map1};

pub(super) fn kernel(cast: &Cast<'_>) -> Option<Kernel> {
    let zone = cast.zone.offset_micros();
    let is_ltz = |data: &DataType| matches!(data, DataType::TimestampLtz { .. });
    // To local microseconds and back; between two LTZ the zone plays no part.
    let cross = is_ltz(cast.from) != is_ltz(cast.to);
    let (scale, shift) = match cast.from {
        DataType::Date => (DAY_MICROS, 0),
        DataType::Time => (1000, 0),
        from if from.is_timestamp() => (
            1000 / int64::units_per_ms(from),
            if is_ltz(from) && cross { zone } else { 0 },
        ),
        _ => return None,
    };
    let finish: Box<dyn Fn(i64) -> i64 + Send + Sync> = match (cast.from, cast.to) {
        (from, DataType::Date) if from.is_timestamp() => {
            Box::new(|micros| micros.div_euclid(DAY_MICROS))
        }
        // TIME has whole seconds.
        (from, DataType::Time) if from.is_timestamp() => {
            Box::new(|micros| micros.rem_euclid(DAY_MICROS) / 1_000_000 * 1000)
        }
        (_, to @ (DataType::Timestamp { precision } | DataType::TimestampLtz { precision })) => {
            let unit = 1000 / int64::units_per_ms(to);
            let step = 10_i64.pow(u32::from(6_u8.saturating_sub(*precision)));
            let back = if is_ltz(to) && cross { zone } else { 0 };
            Box::new(move |micros| {
                let cut = micros
                    .wrapping_sub(back)
                    .div_euclid(step)
                    .wrapping_mul(step);
                cut.div_euclid(unit)
            })
        }
        _ => return None,
    };
    let out = arrow_type(cast.to);
    Some(Box::new(move |args, rows| {
        let times = int64::as_i64(&args[0])?;
        let moved = map1::<Int64Type, Int64Type>(&times, rows, |time| {
            Ok(Some(finish(time.wrapping_mul(scale).wrapping_add(shift))))
        })?;
        int64::from_i64(Arc::new(moved), &out)
    }))
}
