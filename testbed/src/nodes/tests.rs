use super::*;

fn pool(text: &str) -> Pool {
    let text =
        format!("pools:\n- {{name: p, count: 4, capacity: {{cpu: 8, memory: 32Gi}}, {text}}}");
    Description::parse(&text).unwrap().pools.remove(0)
}

fn labels(pool: &Pool, key: &str) -> Vec<String> {
    pool.nodes()
        .iter()
        .map(|node| {
            node["metadata"]["labels"][key]
                .as_str()
                .unwrap_or("-")
                .to_owned()
        })
        .collect()
}

#[test]
fn numbers_become_quantities_and_pods_are_110() {
    let node = &pool("allocatable: {cpu: 7500m}").nodes()[0];
    assert_eq!(node["metadata"]["name"], "p-1");
    assert_eq!(
        node["status"]["capacity"],
        json!({"cpu": "8", "memory": "32Gi", "pods": "110"})
    );
    assert_eq!(
        node["status"]["allocatable"],
        json!({"cpu": "7500m", "memory": "32Gi", "pods": "110"})
    );
}

#[test]
fn racks_are_filled_in_order() {
    for (racks, expected) in [
        ("racks: 2", ["r1", "r1", "r2", "r2"]),
        ("racks: 3", ["r1", "r1", "r2", "r2"]),
        ("racks: 4", ["r1", "r2", "r3", "r4"]),
        ("racks: {size: 3}", ["r1", "r1", "r1", "r2"]),
        ("zone: z", ["-", "-", "-", "-"]),
    ] {
        assert_eq!(labels(&pool(racks), RACK_LABEL), expected, "{racks}");
    }
}

#[test]
fn a_clique_is_shared_by_whom_the_description_says() {
    for (text, distinct) in [
        ("clique: pool", 1),
        ("racks: 2, clique: rack", 2),
        ("clique: node", 4),
    ] {
        let mut cliques = labels(&pool(text), CLIQUE_LABEL);
        cliques.dedup();
        assert_eq!(cliques.len(), distinct, "{text}");
        assert_eq!(
            cliques[0].split(['-', '.']).count(),
            6,
            "UUID.number: {}",
            cliques[0]
        );
    }
}

#[test]
fn gpus_show_as_the_device_plugin_and_gfd_show_them() {
    let gpu = "product: NVIDIA-H100-80GB-HBM3, memory: 81559, count: 8";
    for (extra, resource, amount, product, count) in [
        ("", "nvidia.com/gpu", "8", "NVIDIA-H100-80GB-HBM3", "8"),
        (
            ", sharing: {strategy: time-slicing, replicas: 4}",
            "nvidia.com/gpu",
            "32",
            "NVIDIA-H100-80GB-HBM3-SHARED",
            "8",
        ),
        (
            ", mig: {strategy: single, profiles: {1g.10gb: 7}}",
            "nvidia.com/gpu",
            "56",
            "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb",
            "56",
        ),
        (
            ", mig: {strategy: mixed, profiles: {3g.40gb: 2}}",
            "nvidia.com/mig-3g.40gb",
            "16",
            "NVIDIA-H100-80GB-HBM3",
            "8",
        ),
    ] {
        let pool = pool(&format!("gpu: {{{gpu}{extra}}}"));
        let node = &pool.nodes()[0];
        assert_eq!(node["status"]["allocatable"][resource], amount, "{extra}");
        let labels = &node["metadata"]["labels"];
        assert_eq!(
            (
                &labels["nvidia.com/gpu.product"],
                &labels["nvidia.com/gpu.count"]
            ),
            (&json!(product), &json!(count)),
            "{extra}"
        );
        assert_eq!(
            (
                &labels["nvidia.com/gpu.memory"],
                &labels["nvidia.com/gpu.present"]
            ),
            (&json!("81559"), &json!("true"))
        );
        assert_eq!(labels["nvidia.com/gpu.family"], "hopper");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (text, error) in [
        (
            "pools: [{name: p, count: 1, capacity: {cpu: 1, memory: 1Gi}, colour: red}]",
            "colour",
        ),
        (
            "pools: [{name: P, count: 1, capacity: {cpu: 1, memory: 1Gi}}]",
            "pool name \"P\"",
        ),
        (
            "pools: [{name: p, count: 1, capacity: {cpu: 1}}]",
            "capacity.memory is missing",
        ),
        (
            "pools: [{name: p, count: 1, capacity: {cpu: 1, memory: 1Gi}, racks: 0}]",
            "racks: 0",
        ),
        (
            "pools: [{name: p, count: 1, capacity: {cpu: 1, memory: 1Gi}, clique: rack}]",
            "needs racks",
        ),
        (
            "pools: [{name: p, count: 1, capacity: {cpu: 1, memory: 1Gi}, taints: [{key: x}]}]",
            "key and effect",
        ),
        (
            "members: {m: {pools: [{name: p, count: 1, capacity: {cpu: 1}}]}}",
            "nodes of m",
        ),
    ] {
        let message = format!("{:#}", Description::parse(text).unwrap_err());
        assert!(message.contains(error), "{text}: {message}");
    }
}

#[test]
fn the_demo_has_racks_of_sixteen_gpus_two_regions_and_a_member_without_gpus() {
    let demo = Description::demo().unwrap();
    let pools = |member| demo.pools_of(member);
    let h100 = pools("member1")
        .iter()
        .find(|pool| pool.gpu.is_some())
        .unwrap();
    assert_eq!(labels(h100, RACK_LABEL), ["r1", "r1", "r2", "r2"]);
    assert_eq!(h100.gpu.as_ref().unwrap().count, 8);
    assert!(pools("member2").iter().any(|pool| pool.gpu.is_some()));
    assert!(pools("member3").iter().all(|pool| pool.gpu.is_none()));
    let regions =
        ["member1", "member2", "member3"].map(|member| pools(member)[0].region.clone().unwrap());
    assert!(regions.contains(&"eu".to_owned()) && regions.contains(&"us".to_owned()));
    assert!(
        !pools("member9").is_empty(),
        "further members have nodes too"
    );
    assert_eq!(
        Summary(pools("member1")).to_string(),
        "7 nodes · 32 × H100 in 2 racks"
    );
}

#[test]
fn devices_are_published_as_a_driver_does() {
    let pool = pool(
        "devices: {driver: d, count: 2, attributes: {productName: X}, capacity: {memory: 80Gi}}",
    );
    let objects = pool.devices();
    assert_eq!(
        objects
            .iter()
            .filter(|(plural, _)| *plural == "resourceslices")
            .count(),
        4,
        "one for each node"
    );
    let (_, slice) = &objects[1];
    assert_eq!(slice["spec"]["nodeName"], "p-1");
    assert_eq!(
        slice["spec"]["devices"][1]["attributes"]["resource.kubernetes.io/numaNode"]["int"],
        1
    );
    assert_eq!(
        slice["spec"]["devices"][1]["capacity"]["memory"]["value"],
        "80Gi"
    );
    let (_, class) = &objects[0];
    assert_eq!(class["metadata"]["name"], "d");
}

#[test]
fn partitions_share_counters_within_the_limits_of_a_slice() {
    let pool = pool("devices: {driver: d, count: 9, partitions: true}");
    let slices: Vec<Value> = pool
        .devices()
        .into_iter()
        .filter(|(plural, _)| *plural == "resourceslices")
        .map(|(_, slice)| slice)
        .collect();
    let of_node: Vec<&Value> = slices
        .iter()
        .filter(|slice| slice["spec"]["nodeName"] == "p-1")
        .collect();
    // 14 devices for each GPU, and nine sets of counters.
    assert_eq!(of_node.len(), 2 + 2);
    for slice in of_node {
        assert_eq!(slice["spec"]["pool"]["resourceSliceCount"], 4);
        assert!(
            slice["spec"]["devices"]
                .as_array()
                .is_none_or(|all| all.len() <= 64)
        );
        assert!(
            slice["spec"]["sharedCounters"]
                .as_array()
                .is_none_or(|all| all.len() <= 8)
        );
    }
}

#[test]
fn the_description_with_devices_can_be_read() {
    let all = Description::parse(include_str!("../../nodes/dra.yaml")).unwrap();
    let shared = all.pools_of("member2").last().unwrap().nodes();
    assert_eq!(
        shared[0]["status"]["capacity"]["nvidia.com/gpu.shared"],
        "4"
    );
    assert_eq!(
        shared[0]["metadata"]["labels"]["nvidia.com/gpu.product"],
        "NVIDIA-L4"
    );
}
