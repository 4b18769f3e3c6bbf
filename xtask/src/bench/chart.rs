//! The results as a picture: bars, an SVG file without scripts or fonts of its own.

use std::fmt::Write as _;

use super::report::{FLOOR, OURS, Results};

const WIDTH: f64 = 760.0;
const LABEL: f64 = 210.0;
const BAR: f64 = 22.0;
const GAP: f64 = 8.0;

/// Draws ADD and DEL (ms, p50) and ADDs per second of every chain.
pub(crate) fn svg(results: &Results) -> String {
    let add: Vec<_> = results.serial.iter().map(|s| (s.chain.as_str(), s.add.p50)).collect();
    let del: Vec<_> = results.serial.iter().map(|s| (s.chain.as_str(), s.del.p50)).collect();
    let rate: Vec<_> = results.parallel.iter().map(|p| (p.chain.as_str(), p.adds_per_second)).collect();
    let panels = [
        ("ADD of flannel + macvlan, one pod at a time, p50 in ms (less is better)", add, 2),
        ("DEL, p50 in ms (less is better)", del, 1),
        ("ADDs per second, 8 pods at a time (more is better)", rate, 0),
    ];
    let mut body = String::new();
    let mut y = 16.0;
    for (title, bars, digits) in panels {
        y += 18.0;
        let _ = writeln!(body, r##"<text x="16" y="{y}" font-weight="bold">{title}</text>"##);
        y += 12.0;
        let most = bars.iter().map(|b| b.1).fold(f64::MIN_POSITIVE, f64::max);
        for (name, value) in bars {
            let width = (value / most * (WIDTH - LABEL - 90.0)).max(1.0);
            let colour = match name {
                OURS => "#0b7a75",
                FLOOR => "#9aa5b1",
                _ => "#c8553d",
            };
            let middle = y + BAR * 0.7;
            let end = LABEL + width + 6.0;
            let _ = writeln!(body, r##"<text x="{}" y="{middle:.1}" text-anchor="end">{name}</text>"##, LABEL - 8.0);
            let _ = writeln!(
                body,
                r##"<rect x="{LABEL}" y="{y}" width="{width:.1}" height="{BAR}" rx="3" fill="{colour}"/>"##
            );
            let _ = writeln!(body, r##"<text x="{end:.1}" y="{middle:.1}">{value:.digits$}</text>"##);
            y += BAR + GAP;
        }
        y += 8.0;
    }
    let m = &results.machine;
    y += 8.0;
    let _ = writeln!(
        body,
        r##"<text x="16" y="{y}" font-size="11" fill="#616e7c">{}, {} cores, Linux {}, {}; measured in one run on {}</text>"##,
        m.cpu, m.cores, m.kernel, m.filesystem, results.date
    );
    let height = y + 16.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13" fill="#1f2933">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
{body}</svg>
"##
    )
}
