//! What users are promised, tried on the real binary; and the shape of the sources.

mod tidy;
