//! A column of values, or one value for all rows.

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Datum, PrimitiveArray, StringArray,
    UInt32Array, builder::StringBuilder, cast::AsArray,
};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};

use super::ExprError;

/// What a node evaluates to.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// One value per row.
    Array(ArrayRef),
    /// One value (an array of length 1) for all rows.
    Scalar(ArrayRef),
}

impl Datum for Value {
    fn get(&self) -> (&dyn Array, bool) {
        match self {
            Self::Array(array) => (array.as_ref(), false),
            Self::Scalar(array) => (array.as_ref(), true),
        }
    }
}

impl Value {
    /// The values, one if scalar.
    pub(crate) fn array(&self) -> &ArrayRef {
        match self {
            Self::Array(array) | Self::Scalar(array) => array,
        }
    }

    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self, Self::Scalar(_))
    }

    /// One value per row.
    pub(crate) fn into_array(self, rows: usize) -> Result<ArrayRef, ExprError> {
        match self {
            Self::Array(array) => Ok(array),
            Self::Scalar(array) if rows == 1 => Ok(array),
            Self::Scalar(array) => Ok(arrow_select::take::take(
                &array,
                &UInt32Array::from(vec![0; rows]),
                None,
            )?),
        }
    }

    /// A value of this kind with other contents.
    pub(crate) fn with_array(&self, array: ArrayRef) -> Self {
        match self {
            Self::Array(_) => Self::Array(array),
            Self::Scalar(_) => Self::Scalar(array),
        }
    }

    /// Position of row `row` in [`Self::array`].
    pub(crate) fn at(&self, row: usize) -> usize {
        if self.is_scalar() { 0 } else { row }
    }

    pub(crate) fn primitive<T: ArrowPrimitiveType>(&self) -> Result<Reader<'_, T>, ExprError> {
        let array = self
            .array()
            .as_primitive_opt::<T>()
            .ok_or_else(|| wrong_type(self.array(), &T::DATA_TYPE.to_string()))?;
        Ok(Reader {
            values: array.values(),
            nulls: array.nulls(),
            step: usize::from(!self.is_scalar()),
        })
    }

    pub(crate) fn strings(&self) -> Result<Strings<'_>, ExprError> {
        let array = self
            .array()
            .as_string_opt::<i32>()
            .ok_or_else(|| wrong_type(self.array(), "Utf8"))?;
        Ok(Strings {
            array,
            step: usize::from(!self.is_scalar()),
        })
    }

    pub(crate) fn booleans(&self, rows: usize) -> Result<BooleanArray, ExprError> {
        let array = self.clone().into_array(rows)?;
        array
            .as_boolean_opt()
            .cloned()
            .ok_or_else(|| wrong_type(&array, "Boolean"))
    }
}

fn wrong_type(array: &ArrayRef, wanted: &str) -> ExprError {
    ExprError::new(
        "expression",
        format!(
            "a column has Arrow type {} where the plan says {wanted}",
            array.data_type()
        ),
    )
}

/// Values of a primitive type by row.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a, T: ArrowPrimitiveType> {
    values: &'a [T::Native],
    nulls: Option<&'a NullBuffer>,
    step: usize,
}

impl<T: ArrowPrimitiveType> Reader<'_, T> {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<T::Native> {
        match self.nulls {
            Some(nulls) if nulls.is_null(row * self.step) => None,
            _ => Some(self.value(row)),
        }
    }

    /// The value of a row that is not NULL.
    #[inline]
    fn value(&self, row: usize) -> T::Native {
        self.values[row * self.step]
    }
}

/// Texts by row.
#[derive(Clone, Copy)]
pub(crate) struct Strings<'a> {
    array: &'a StringArray,
    step: usize,
}

impl<'a> Strings<'a> {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<&'a str> {
        let at = row * self.step;
        if self.array.is_null(at) {
            None
        } else {
            Some(self.array.value(at))
        }
    }
}

/// Applies `f` to the rows that are not NULL; `f` may return NULL, too.
#[inline]
fn collect<O: ArrowPrimitiveType>(
    rows: usize,
    nulls: Option<NullBuffer>,
    f: impl Fn(usize) -> Result<Option<O::Native>, ExprError>,
) -> Result<PrimitiveArray<O>, ExprError> {
    let mut out: Vec<O::Native> = Vec::with_capacity(rows);
    let mut missing: Vec<usize> = Vec::new();
    for row in 0..rows {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.push(O::Native::default());
            continue;
        }
        out.push(if let Some(value) = f(row)? {
            value
        } else {
            missing.push(row);
            O::Native::default()
        });
    }
    let nulls = if missing.is_empty() {
        nulls
    } else {
        let mut valid = vec![true; rows];
        for row in missing {
            valid[row] = false;
        }
        NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::from(valid)))
    };
    Ok(PrimitiveArray::new(ScalarBuffer::from(out), nulls))
}

/// Applies `f` to every value; NULL stays NULL, and `f` may return NULL.
pub(crate) fn map1<A, O>(
    a: &Value,
    rows: usize,
    f: impl Fn(A::Native) -> Result<Option<O::Native>, ExprError>,
) -> Result<PrimitiveArray<O>, ExprError>
where
    A: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let nulls = any_null(std::slice::from_ref(a), rows);
    let a = a.primitive::<A>()?;
    collect(rows, nulls, |row| f(a.value(row)))
}

/// Applies `f` to every pair of values; NULL if either is NULL, and `f` may return NULL.
pub(crate) fn map2<A, B, O>(
    a: &Value,
    b: &Value,
    rows: usize,
    f: impl Fn(A::Native, B::Native) -> Result<Option<O::Native>, ExprError>,
) -> Result<PrimitiveArray<O>, ExprError>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let nulls = any_null([a, b], rows);
    let (a, b) = (a.primitive::<A>()?, b.primitive::<B>()?);
    collect(rows, nulls, |row| f(a.value(row), b.value(row)))
}

/// `f` of every pair of values; NULL if either is.
pub(crate) fn compare2<T: ArrowPrimitiveType>(
    a: &Value,
    b: &Value,
    rows: usize,
    f: impl Fn(T::Native, T::Native) -> bool,
) -> Result<BooleanArray, ExprError> {
    let nulls = any_null([a, b], rows);
    let (a, b) = (a.primitive::<T>()?, b.primitive::<T>()?);
    let values = BooleanBuffer::collect_bool(rows, |row| {
        nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) && f(a.value(row), b.value(row))
    });
    Ok(BooleanArray::new(values, nulls))
}

/// Bytes of text that one column of a batch holds at most, but for a batch of one row. Offsets of
/// Arrow end at 2 GiB, and memory much earlier.
const COLUMN_TEXT_BYTES: usize = 64 << 20;

/// Texts from `f` of every row. Fails as crowded where fewer rows may fit.
pub(crate) fn build_strings<'a, S: AsRef<str>>(
    rows: usize,
    f: impl Fn(usize) -> Result<Option<S>, ExprError> + 'a,
) -> Result<StringArray, ExprError> {
    let mut out = StringBuilder::with_capacity(rows, rows * 8);
    for row in 0..rows {
        let text = f(row)?;
        let more = text.as_ref().map_or(0, |text| text.as_ref().len());
        let bytes = out.values_slice().len().saturating_add(more);
        if bytes > COLUMN_TEXT_BYTES && rows > 1 {
            return Err(ExprError {
                crowded: true,
                ..ExprError::new(
                    "text",
                    format!("the texts of {rows} rows take more than {COLUMN_TEXT_BYTES} bytes"),
                )
            });
        }
        if i32::try_from(bytes).is_err() {
            return Err(ExprError::new(
                "text",
                format!("a text of {bytes} bytes; the longest is one of 2,147,483,647 bytes"),
            ));
        }
        out.append_option(text);
    }
    Ok(out.finish())
}

/// Rows where any of `values` is NULL.
pub(crate) fn any_null<'a>(
    values: impl IntoIterator<Item = &'a Value>,
    rows: usize,
) -> Option<NullBuffer> {
    let mut nulls: Option<NullBuffer> = None;
    for value in values {
        let own = match value.array().logical_nulls() {
            Some(own) if value.is_scalar() => own.is_null(0).then(|| NullBuffer::new_null(rows)),
            own => own,
        };
        nulls = NullBuffer::union(nulls.as_ref(), own.as_ref());
    }
    nulls
}
