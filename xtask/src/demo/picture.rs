//! The world as a picture in the terminal, with the addresses that the kernel reports.

use crate::term::{bold, cyan, dim, magenta};

/// A pod as drawn.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    /// Its name.
    pub(crate) name: String,
    /// Address of eth0 with its prefix length.
    pub(crate) eth0: String,
    /// Address of net0 with its prefix length.
    pub(crate) net0: String,
}

/// Everything that is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// The outside host's address.
    pub(crate) outside: String,
    /// The host's parent interface.
    pub(crate) parent: String,
    /// The bridge's address.
    pub(crate) bridge: String,
    /// The pods, from left to right.
    pub(crate) pods: [Pod; 2],
}

/// How a cell is painted.
#[derive(Clone, Copy, PartialEq)]
enum Paint {
    Plain,
    Frame,
    Name,
    Parent,
    Bridge,
}

/// Cells that text is put on; what is put later covers what was there.
struct Canvas(Vec<Vec<(char, Paint)>>);

impl Canvas {
    fn new(width: usize, height: usize) -> Canvas {
        Canvas(vec![vec![(' ', Paint::Plain); width]; height])
    }

    fn put(&mut self, x: usize, y: usize, paint: Paint, text: &str) {
        for (i, c) in text.chars().enumerate() {
            if let Some(cell) = self.0.get_mut(y).and_then(|row| row.get_mut(x + i)) {
                *cell = (c, paint);
            }
        }
    }

    fn frame(&mut self, (x, y): (usize, usize), (width, height): (usize, usize), name: &str) {
        let line = "─".repeat(width - 2);
        self.put(x, y, Paint::Frame, &format!("┌{line}┐"));
        for row in y + 1..y + height - 1 {
            self.put(x, row, Paint::Frame, "│");
            self.put(x + width - 1, row, Paint::Frame, "│");
        }
        self.put(x, y + height - 1, Paint::Frame, &format!("└{line}┘"));
        self.put(x + 2, y, Paint::Name, &format!(" {name} "));
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.0 {
            text.push_str("  ");
            for run in row.chunk_by(|a, b| a.1 == b.1) {
                let plain: String = run.iter().map(|cell| cell.0).collect();
                text += &match run[0].1 {
                    Paint::Plain => plain,
                    Paint::Frame => dim(plain),
                    Paint::Name => bold(plain),
                    Paint::Parent => magenta(plain),
                    Paint::Bridge => cyan(plain),
                };
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }
}

/// Draws it.
pub(crate) fn draw(picture: &Picture) -> String {
    use Paint::{Bridge, Name, Parent, Plain};
    const POD: usize = 29;
    const LEFT: [usize; 2] = [5, 5 + POD + 2];
    // Where a pod's two cables come in, counted from its left edge.
    const NET0: usize = 20;
    const ETH0: usize = 25;
    let mut canvas = Canvas::new(71, 14);
    canvas.frame((0, 2), (71, 12), "──── host");
    canvas.put(2, 0, Name, "outside");
    canvas.put(10, 0, Plain, &format!("{}  (another machine on eth0's network)", picture.outside));
    canvas.put(4, 1, Parent, "║");
    canvas.put(2, 2, Plain, "──");
    canvas.put(4, 2, Parent, "╨");
    canvas.put(3, 3, Parent, "eth0");
    canvas.put(8, 3, Plain, &picture.parent);
    canvas.put(4, 4, Parent, &format!("╚═ macvlan {}", "═".repeat(LEFT[1] + NET0 - 15)));
    canvas.put(3, 5, Bridge, "cni0");
    canvas.put(8, 5, Plain, &picture.bridge);
    canvas.put(4, 6, Bridge, &format!("└─ veth {}", "─".repeat(LEFT[1] + ETH0 - 12)));
    for (i, pod) in picture.pods.iter().enumerate() {
        let (net0, eth0) = (LEFT[i] + NET0, LEFT[i] + ETH0);
        canvas.frame((LEFT[i], 8), (POD, 5), &pod.name);
        canvas.put(net0, 4, Parent, if i == 0 { "╦" } else { "╗" });
        canvas.put(eth0, 6, Bridge, if i == 0 { "┬" } else { "┐" });
        for row in [5, 6, 7] {
            canvas.put(net0, row, Parent, "║");
        }
        canvas.put(eth0, 7, Bridge, "│");
        canvas.put(net0, 8, Parent, "╨");
        canvas.put(eth0, 8, Bridge, "┴");
        canvas.put(LEFT[i] + 2, 9, Parent, "net0");
        canvas.put(LEFT[i] + 7, 9, Plain, &pod.net0);
        canvas.put(LEFT[i] + 2, 10, Bridge, "eth0");
        canvas.put(LEFT[i] + 7, 10, Plain, &pod.eth0);
        canvas.put(LEFT[i] + 2, 11, Plain, "lo   127.0.0.1/8");
    }
    canvas.text()
}
