//! What users are promised, tried on the real binary; and the shape of the sources.

mod bounds;
mod consume;
mod damage;
mod deleted;
mod dlq;
mod fixture;
mod generate;
mod groups_faults;
mod harm;
mod inspect;
mod json;
mod kill;
mod life;
mod mend;
mod pipelines;
mod publish;
mod replay;
mod rig;
mod room;
mod serve;
mod stores;
mod support;
mod tail;
mod tidy;
mod topic;
mod verify;
