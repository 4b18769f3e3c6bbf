//! Framing and extended acks from bytes; a real exchange where the kernel can be made to do what is to be seen.

use netlink_sys::protocols::NETLINK_ROUTE;

use super::message::*;
use super::*;
use crate::attributes::u32_at;

/// A netlink message.
fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(HEADER + payload.len()).unwrap().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The refusal in the one message of `bytes`.
fn refusal(bytes: &[u8], sent: &[u8]) -> Refusal {
    let message = Messages(bytes).next().unwrap().unwrap();
    match message.content {
        Content::End(Some(report)) => report.refusal(sent, message.sequence),
        content => panic!("{content:?}"),
    }
}

#[test]
fn several_messages_in_one_read_come_apart() {
    let bytes = [
        message(16, 2, 7, &[1, 2, 3]),
        message(NLMSG_NOOP, 0, 7, &[]),
        message(NLMSG_ERROR, 0, 8, &[0; 20]),
        message(NLMSG_DONE, 2, 9, &0_i32.to_ne_bytes()),
        message(NLMSG_DONE, 2, 10, &[]),
        message(NLMSG_OVERRUN, 0, 11, &[]),
    ]
    .concat();
    let all: Vec<_> = Messages(&bytes).map(|m| m.unwrap()).collect();
    assert_eq!(all.iter().map(|m| m.sequence).collect::<Vec<_>>(), [7, 8, 9, 10, 11]);
    assert!(matches!(all[0].content, Content::Payload([1, 2, 3])));
    assert!(all[1..4].iter().all(|m| matches!(m.content, Content::End(None))));
    assert!(matches!(all[4].content, Content::Overrun));
}

#[test]
fn torn_messages_are_an_error_and_the_end() {
    let whole = message(16, 0, 1, &[1, 2, 3, 4]);
    for length in 1..whole.len() {
        let mut messages = Messages(&whole[..length]);
        assert_eq!(messages.next().unwrap().unwrap_err().errno, Errno::BADMSG, "{length}");
        assert!(messages.next().is_none());
    }
    // A length shorter than the header would never advance; one of 4 GiB would overflow.
    for length in [0_u32, 15, u32::MAX] {
        let mut bad = whole.clone();
        bad[..4].copy_from_slice(&length.to_ne_bytes());
        assert!(Messages(&bad).next().unwrap().is_err());
    }
    assert!(Messages(&message(NLMSG_ERROR, 0, 1, &[0; 3])).next().unwrap().is_err());
}

#[test]
fn extended_acks_are_read_capped_whole_and_at_the_end_of_a_dump() {
    let words = attribute(NLMSGERR_ATTR_MSG, b"too long\0");
    let code = (-22_i32).to_ne_bytes();
    let request = message(16, 5, 3, &attribute(4, b"what was asked"));
    let capped = [&code[..], &request[..HEADER], &words].concat();
    let whole = [&code[..], &request, &words].concat();
    let done = [&code[..], &words].concat();
    for bytes in [
        message(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, 3, &capped),
        message(NLMSG_ERROR, NLM_F_ACK_TLVS, 3, &whole),
        message(NLMSG_DONE, NLM_F_ACK_TLVS, 3, &done),
    ] {
        assert_eq!(refusal(&bytes, &[]), Refusal::new(Errno::INVAL, "too long"));
    }
    // Without the flag there are none, whatever follows.
    assert_eq!(refusal(&message(NLMSG_ERROR, NLM_F_CAPPED, 3, &capped), &[]), Errno::INVAL.into());
}

#[test]
fn the_attribute_at_fault_is_named() {
    let sent = [message(16, 5, 3, &[0; 16]), message(16, 5, 4, &[vec![0; 16], attribute(27, b"x")].concat())].concat();
    let error = |more: &[u8]| {
        let code = (-34_i32).to_ne_bytes();
        message(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, 4, &[&code[..], &sent[..HEADER], more].concat())
    };
    let offset = attribute(NLMSGERR_ATTR_OFFS, &32_u32.to_ne_bytes());
    assert_eq!(refusal(&error(&offset), &sent).text, "attribute 27 at byte 32 of the request");
    let both = [attribute(NLMSGERR_ATTR_MSG, b"no\0"), offset].concat();
    assert_eq!(refusal(&error(&both), &sent).text, "no; attribute 27 at byte 32 of the request");
    for (value, text) in [
        (&b"table\0"[..], "about \"table\""),
        // Numbers: a port or VLAN of 16 bits, 97 in either byte order.
        (b"a\0", "attribute 27 at byte 32 of the request"),
        (b"a\0\0\0", "attribute 27 at byte 32 of the request"),
        (b"\0\0\0a", "attribute 27 at byte 32 of the request"),
        (b"no end", "attribute 27 at byte 32 of the request"),
    ] {
        let sent = message(16, 5, 4, &[vec![0; 16], attribute(27, value)].concat());
        assert_eq!(refusal(&error(&attribute(NLMSGERR_ATTR_OFFS, &32_u32.to_ne_bytes())), &sent).text, text);
    }
    let outside = attribute(NLMSGERR_ATTR_OFFS, &u32::MAX.to_ne_bytes());
    assert_eq!(refusal(&error(&outside), &sent).text, "byte 4294967295 of the request");
    let missing = attribute(NLMSGERR_ATTR_MISS_TYPE, &5_u32.to_ne_bytes());
    assert_eq!(refusal(&error(&missing), &sent).text, "attribute 5 is missing");
}

#[test]
fn an_error_number_that_is_none_is_no_panic() {
    for code in [i32::MIN, -4096, -1_000_000] {
        assert_eq!(refusal(&message(NLMSG_ERROR, 0, 1, &code.to_ne_bytes()), &[]).errno, Errno::PROTO);
    }
    // Positive ones are not the kernel's; as an ack they end the request.
    let bytes = message(NLMSG_ERROR, 0, 1, &5_i32.to_ne_bytes());
    assert!(matches!(Messages(&bytes).next().unwrap().unwrap().content, Content::End(None)));
}

/// RTM_GETLINK of a link by its number.
fn get_link(socket: &mut Socket, index: u32, flags: u16) -> u32 {
    socket.push(18, flags, |out| {
        out.extend([0; 4]);
        out.extend(index.to_ne_bytes());
        out.extend([0; 8]);
    })
}

#[test]
fn many_requests_in_one_exchange_each_get_their_answer() {
    let mut socket = Socket::open(NETLINK_ROUTE).unwrap();
    assert_eq!(socket.exchange(&mut |_, _| panic!("nothing was asked")).unwrap(), Exchange::default());
    // More acks than the default receive buffer holds: link 1 is lo, the others do not exist.
    let sequences: Vec<_> = (0..2000).map(|n| get_link(&mut socket, 1 + n % 2 * 1_000_000, NLM_F_ACK)).collect();
    let mut answers = Vec::new();
    socket
        .exchange(&mut |sequence, answer| match answer {
            Answer::Message { kind, payload } => answers.push((sequence, kind, u32_at(payload, 4))),
            Answer::Refused(refusal) => answers.push((sequence, 0, Some(refusal.errno.raw_os_error().cast_unsigned()))),
        })
        .unwrap();
    let wanted = sequences.iter().enumerate().map(|(n, sequence)| match n % 2 {
        0 => (*sequence, 16, Some(1)),
        _ => (*sequence, 0, Some(libc::ENODEV.cast_unsigned())),
    });
    assert_eq!(answers, wanted.collect::<Vec<_>>());
}

#[test]
fn answers_to_what_nobody_waits_for_are_dropped() {
    let mut socket = Socket::open(NETLINK_ROUTE).unwrap();
    // Without NLM_F_ACK nothing is awaited: the exchange ends at once and the answer stays in the socket.
    get_link(&mut socket, 1, 0);
    socket.exchange(&mut |_, _| panic!("it was not waited for")).unwrap();
    let wanted = get_link(&mut socket, 1, NLM_F_ACK);
    let mut seen = Vec::new();
    socket.exchange(&mut |sequence, _| seen.push(sequence)).unwrap();
    assert_eq!(seen, [wanted]);
}

#[test]
fn an_error_that_was_not_asked_for_ends_the_exchange() {
    let mut socket = Socket::open(NETLINK_ROUTE).unwrap();
    // The kernel answers errors always. The second message never gets an answer: NLM_F_ACK is claimed and not sent.
    get_link(&mut socket, 1_000_000, 0);
    let second = get_link(&mut socket, 1, 0);
    socket.awaited.push_back(second);
    socket.awaited.push_back(second + 1);
    let mut refused = None;
    // Had it waited for what cannot come, it would say ETIMEDOUT.
    socket
        .exchange(&mut |_, answer| {
            if let Answer::Refused(refusal) = answer {
                refused = Some(refusal.errno);
            }
        })
        .unwrap();
    assert_eq!(refused, Some(Errno::NODEV));
}

#[test]
fn sequence_numbers_wrap() {
    let mut socket = Socket::open(NETLINK_ROUTE).unwrap();
    socket.sequence = u32::MAX - 1;
    let sequences: Vec<_> = (0..4).map(|_| get_link(&mut socket, 1, NLM_F_ACK)).collect();
    let mut seen = Vec::new();
    socket.exchange(&mut |sequence, _| seen.push(sequence)).unwrap();
    assert_eq!((seen.as_slice(), sequences), (&[u32::MAX, 0, 1, 2][..], vec![u32::MAX, 0, 1, 2]));
}

#[test]
fn an_answer_longer_than_the_buffer_is_reported_and_fits_the_next_time() {
    let mut socket = Socket::open(NETLINK_ROUTE).unwrap();
    let mut truncated = Vec::new();
    socket.room = 64;
    for _ in 0..2 {
        let asked = get_link(&mut socket, 1, NLM_F_ACK);
        let mut messages = 0;
        let exchange = socket
            .exchange(&mut |sequence, answer| {
                assert_eq!(sequence, asked);
                messages += usize::from(matches!(answer, Answer::Message { .. }));
            })
            .unwrap();
        truncated.push((exchange.truncated, messages));
    }
    assert_eq!(truncated, [(true, 0), (false, 1)]);
}

/// A defect that there was: until the queue was empty the kernel dropped every later answer, too.
#[test]
fn a_socket_whose_queue_was_full_answers_again() {
    if !testkit::have_root() {
        return testkit::skip_or_fail("netns", "needs root");
    }
    let netns = crate::Netns::unshare().unwrap();
    let mut socket = netns.run(|| Socket::open(NETLINK_ROUTE)).unwrap().unwrap();
    socket.subscribe(1, true).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket.inner, 16 * 1024).unwrap();
    let mut other = netns.rtnl().unwrap();
    for i in 0..20 {
        let name = format!("br{i}");
        other.add_link(&crate::NewLink::new(&name, crate::LinkKind::Bridge { vlan_filtering: false })).unwrap();
    }
    // RTM_GETLINK of lo.
    let mut ask = || {
        socket.push(18, NLM_F_ACK, |out| out.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        socket.exchange(&mut |_, _| {})
    };
    assert_eq!(ask().unwrap_err().errno, Errno::NOBUFS);
    ask().unwrap();
}
