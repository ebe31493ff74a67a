//! Times this engine and rsigma-eval on the same events and rules in one run, and prints ratios.
mod peer;
mod workload;
fn main() -> anyhow::Result<()> {
    let corpus = std::path::Path::new("../shared/corpus");
    let rules = corpus.join("sigma-rules/rules/windows");
    let t = std::time::Instant::now();
    let peer = peer::Peer::load(&rules)?;
    println!("load {:?} {} {}", t.elapsed(), peer.loaded, peer.refused);
    let data = workload::load(corpus, workload::Workload::All, 50_000)?;
    let lines: Vec<&[u8]> = data.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
    for mode in [peer::Mode::Routed, peer::Mode::Everything, peer::Mode::Routed] {
        let t = std::time::Instant::now();
        let hits = peer.run(&lines, mode, None);
        println!("{mode:?} {:.2} us/ev hits {hits}", t.elapsed().as_nanos() as f64 / lines.len() as f64 / 1e3);
    }
    Ok(())
}
