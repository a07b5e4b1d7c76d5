//! Kueue's performance shapes, as its generator makes them: one workload of each set per interval, the first after one interval.

use placement_api::kinds::TopologyMode;

/// One of Kueue's configurations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) cohorts: usize,
    /// Queues in each cohort.
    pub(super) queues: usize,
    /// What is generated in each queue.
    pub(super) sets: &'static [Set],
    /// Racks and nodes in each; none: one node that holds the quota of all.
    pub(super) racks: Option<(usize, usize)>,
    pub(super) published: Published,
}

/// Kueue's own engine on this shape, measured in virtual time (`gpu-batch-schedulers.md`, Annex B.2), and what is to be reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    pub(super) makespan_s: f64,
    pub(super) preemptions: u64,
    pub(super) lost_percent: f64,
    /// Admissions per second, the better of two runs.
    pub(super) per_second: f64,
    pub(super) makespan_to_reach_s: f64,
}

/// Workloads of one kind in a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    pub(super) class: Class,
    pub(super) count: i64,
    pub(super) every_ms: i64,
    pub(super) run_ms: i64,
    pub(super) priority: i32,
    pub(super) pods: i64,
    /// Of one pod.
    pub(super) millicores: i64,
    /// Closeness in a rack. Kueue's "balanced" (slices, each in one rack) has no equal here; one rack for all, preferred, is stricter.
    pub(super) rack: Option<TopologyMode>,
}

/// Kueue reports by these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Small,
    Medium,
    Large,
}

/// One workload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// Position of its queue among all.
    pub(super) queue: usize,
    pub(super) set: Set,
    pub(super) submit_ms: i64,
}

/// CPUs that are a queue's own, and what it may borrow beside them.
pub(super) const NOMINAL: i64 = 20_000;
pub(super) const BORROWED: i64 = 100_000;
/// CPUs of a node where nodes count.
pub(super) const NODE: i64 = 96_000;

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    const fn priority(self) -> i32 {
        match self {
            Self::Small => 50,
            Self::Medium => 100,
            Self::Large => 200,
        }
    }
}

impl Set {
    /// CPUs of all its pods.
    pub(super) fn cpu(&self) -> i64 {
        self.pods * self.millicores
    }
}

impl Shape {
    /// Every workload in the order of arrival.
    pub(super) fn works(&self) -> Vec<Work> {
        let mut works = Vec::new();
        for queue in 0..self.cohorts * self.queues {
            for set in self.sets {
                works.extend((1..=set.count).map(|number| Work {
                    queue,
                    set: *set,
                    submit_ms: number * set.every_ms,
                }));
            }
        }
        works.sort_by_key(|work| work.submit_ms);
        works
    }

    /// CPUs of a cohort.
    pub(super) fn cohort_cpu(&self) -> i64 {
        i64::try_from(self.queues).unwrap_or(i64::MAX / NOMINAL) * NOMINAL
    }

    /// No schedule ends before this: after any time there is at least the work that arrives from then on.
    pub(super) fn bound_ms(&self) -> i64 {
        let arrivals = self
            .sets
            .iter()
            .flat_map(|set| (1..=set.count).map(|number| number * set.every_ms));
        let bound = arrivals.map(|from| {
            let later = |set: &Set| {
                let before = (from - 1) / set.every_ms;
                (set.count - before).max(0) * set.run_ms * set.cpu()
            };
            let work: i64 = self.sets.iter().map(later).sum();
            from + work / NOMINAL
        });
        bound.max().unwrap_or(0)
    }
}

const fn one_pod(class: Class, count: i64, every_ms: i64, run_ms: i64, cpu: i64) -> Set {
    Set {
        class,
        count,
        every_ms,
        run_ms,
        priority: class.priority(),
        pods: 1,
        millicores: cpu * 1000,
        rack: None,
    }
}

const fn in_rack(of: Set, count: i64, pods: i64, rack: TopologyMode) -> Set {
    Set {
        count,
        pods,
        millicores: of.millicores / pods,
        rack: Some(rack),
        ..of
    }
}

const SMALL: Set = one_pod(Class::Small, 350, 100, 200, 1);
const MEDIUM: Set = one_pod(Class::Medium, 100, 500, 500, 5);
const LARGE: Set = one_pod(Class::Large, 50, 1200, 1000, 20);

/// 15,000 workloads in 30 queues.
pub(super) const BASELINE: Shape = Shape {
    name: "baseline",
    cohorts: 5,
    queues: 6,
    sets: &[SMALL, MEDIUM, LARGE],
    racks: None,
    published: Published {
        makespan_s: 76.8,
        preemptions: 5_910,
        lost_percent: 12.9,
        per_second: 2_140.0,
        makespan_to_reach_s: 67.5,
    },
};

/// 50,000 workloads in 1,000 queues.
pub(super) const LARGE_SCALE: Shape = Shape {
    name: "large-scale",
    cohorts: 10,
    queues: 100,
    sets: &[
        one_pod(Class::Small, 35, 60, 150, 1),
        one_pod(Class::Medium, 11, 300, 350, 5),
        one_pod(Class::Large, 4, 700, 700, 20),
    ],
    racks: None,
    published: Published {
        makespan_s: 4.7,
        preemptions: 3_000,
        lost_percent: 0.8,
        per_second: 2_850.0,
        makespan_to_reach_s: 4.2,
    },
};

/// 15,000 workloads of several pods on 640 nodes in racks.
pub(super) const TAS: Shape = Shape {
    name: "tas",
    cohorts: 5,
    queues: 6,
    sets: &[
        in_rack(SMALL, 120, 2, TopologyMode::Required),
        in_rack(SMALL, 120, 2, TopologyMode::Preferred),
        in_rack(SMALL, 110, 2, TopologyMode::Preferred),
        in_rack(MEDIUM, 34, 4, TopologyMode::Required),
        in_rack(MEDIUM, 33, 4, TopologyMode::Preferred),
        in_rack(MEDIUM, 33, 4, TopologyMode::Preferred),
        in_rack(LARGE, 17, 8, TopologyMode::Required),
        in_rack(LARGE, 17, 8, TopologyMode::Preferred),
        in_rack(LARGE, 16, 8, TopologyMode::Preferred),
    ],
    racks: Some((10, 64)),
    published: Published {
        makespan_s: 66.6,
        preemptions: 150,
        lost_percent: 0.2,
        per_second: 530.0,
        makespan_to_reach_s: 66.2,
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_have_as_much_work_as_published() {
        for (shape, works, cpu_s_per_queue) in [
            (BASELINE, 15_000, 1_320.0),
            (LARGE_SCALE, 50_000, 80.5),
            (TAS, 15_000, 1_320.0),
        ] {
            let all = shape.works();
            assert_eq!(all.len(), works, "{}", shape.name);
            let work: i64 = all.iter().map(|one| one.set.run_ms * one.set.cpu()).sum();
            let queues = (shape.cohorts * shape.queues) as f64;
            let off = work as f64 / 1e6 / queues - cpu_s_per_queue;
            assert!(off.abs() < 1e-9, "{}: {off}", shape.name);
        }
    }

    #[test]
    fn what_arrives_late_cannot_end_early() {
        // 1.2 s into the run 11 small and 2 medium workloads of each queue are behind us: 66 s of quota less 0.36 s, after 1.2 s.
        assert_eq!(BASELINE.bound_ms(), 66_840);
        assert_eq!(LARGE_SCALE.bound_ms(), 4_470);
    }
}
