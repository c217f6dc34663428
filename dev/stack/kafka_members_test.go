package stack

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// rawMember is a member of a group that does just what it is told, over a connection of its own.
type rawMember struct {
	t     *testing.T
	conn  net.Conn
	group string
	id    string
	epoch int32
	lead  bool
	all   []string // the members, where it leads them
}

const (
	rawSession   = 6 * time.Second // as short as brokers allow
	rawRebalance = time.Minute
)

func newRawMember(t *testing.T, broker, group string) *rawMember {
	t.Helper()
	conn, err := net.Dial("tcp", broker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &rawMember{t: t, conn: conn, group: group}
}

// die ends the connection and says nothing, as a process does that is killed.
func (m *rawMember) die() { _ = m.conn.Close() }

func (m *rawMember) send(req kmsg.Request) {
	m.t.Helper()
	req.SetVersion(min(req.MaxVersion(), 7))
	if _, err := m.conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, 1)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *rawMember) receive(req kmsg.Request) (kmsg.Response, error) {
	_ = m.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	var size [4]byte
	if _, err := io.ReadFull(m.conn, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(m.conn, body); err != nil {
		return nil, err
	}
	body = body[4:]
	if req.IsFlexible() {
		body = body[1:]
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	return resp, resp.ReadFrom(body)
}

func (m *rawMember) joinRequest() *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = m.group, m.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(rawSession.Milliseconds()), int32(rawRebalance.Milliseconds())
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	p.Metadata = (&kmsg.ConsumerMemberMetadata{Topics: []string{"t"}}).AppendTo(nil)
	req.Protocols = append(req.Protocols, p)
	return req
}

// ask gets a name from the broker and asks to join under it; the answer is for answered.
func (m *rawMember) ask() {
	m.t.Helper()
	if m.id == "" {
		req := m.joinRequest()
		m.send(req)
		resp, err := m.receive(req)
		if err != nil {
			m.t.Fatal(err)
		}
		m.id = resp.(*kmsg.JoinGroupResponse).MemberID
	}
	m.send(m.joinRequest())
}

// answered waits for the answer to its joining, and says whether it has joined.
func (m *rawMember) answered() (bool, error) {
	req := m.joinRequest()
	req.SetVersion(7)
	resp, err := m.receive(req)
	if err != nil {
		return false, err
	}
	join := resp.(*kmsg.JoinGroupResponse)
	if join.ErrorCode != 0 {
		m.id = ""
		return false, nil
	}
	m.epoch, m.lead, m.all = join.Generation, join.LeaderID == m.id, nil
	for _, other := range join.Members {
		m.all = append(m.all, other.MemberID)
	}
	return true, nil
}

// sync shares nothing out, where it leads, and says whether the group is stable.
func (m *rawMember) sync() (bool, error) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.epoch
	for _, id := range m.all {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID = id
		req.GroupAssignment = append(req.GroupAssignment, a)
	}
	m.send(req)
	resp, err := m.receive(req)
	return err == nil && resp.(*kmsg.SyncGroupResponse).ErrorCode == 0, err
}

func (m *rawMember) beat() (bool, error) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.epoch
	m.send(req)
	resp, err := m.receive(req)
	return err == nil && resp.(*kmsg.HeartbeatResponse).ErrorCode == 0, err
}

// Members that die while they join, or just after, hold up nobody for long, and are gone from the
// group in the end, however many there are and whatever they had asked for last. Apache Kafka does
// so too.
func TestAGroupRecoversFromMembersThatDieWhileTheyJoin(t *testing.T) {
	for name, die := range map[string]func(*testing.T, *KafkaBroker, string){
		"AsLeaders": func(t *testing.T, b *KafkaBroker, group string) {
			for range 3 {
				m := newRawMember(t, b.Brokers()[0], group)
				m.ask()
				m.die()
			}
		},
		"InTurn": func(t *testing.T, b *KafkaBroker, group string) {
			first := newRawMember(t, b.Brokers()[0], group)
			first.ask()
			if joined, err := first.answered(); err != nil || !joined {
				t.Fatal(err)
			}
			if stable, err := first.sync(); err != nil || !stable {
				t.Fatal(err)
			}
			first.die()
			for range 8 {
				m := newRawMember(t, b.Brokers()[0], group)
				m.ask()
				awaitMember(t, b, group, m.id)
				m.die()
			}
		},
		"BeforeTheySync": func(t *testing.T, b *KafkaBroker, group string) {
			for range 3 {
				m := newRawMember(t, b.Brokers()[0], group)
				m.ask()
				if len(b.cluster.GroupInfo(group).Members) == 1 {
					if _, err := m.answered(); err != nil {
						t.Fatal(err)
					}
				}
				m.die()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := StartKafka("")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Close)
			die(t, b, name)
			began := time.Now()
			live(t, b, name, func() bool { return len(b.cluster.GroupInfo(name).Members) == 1 })
			t.Logf("recovered after %s", time.Since(began).Round(time.Millisecond))
		})
	}
}

func awaitMember(t *testing.T, b *KafkaBroker, group, id string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if info := b.cluster.GroupInfo(group); info != nil {
			for _, m := range info.Members {
				if m.MemberID == id {
					return
				}
			}
		}
	}
	t.Fatalf("%s did not become a member", id)
}

// live is a member that does what clients do, until it is in a stable group that is as wanted: it
// has 40 seconds.
func live(t *testing.T, b *KafkaBroker, group string, wanted func() bool) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	m := newRawMember(t, b.Brokers()[0], group)
	for time.Now().Before(deadline) {
		m.ask()
		ok, err := m.answered()
		if err == nil && ok {
			ok, err = m.sync()
		}
		for err == nil && ok && time.Now().Before(deadline) {
			if wanted() {
				return
			}
			time.Sleep(100 * time.Millisecond)
			ok, err = m.beat()
		}
		if err != nil { // it gives up, and comes back as another
			m.die()
			m = newRawMember(t, b.Brokers()[0], group)
		}
	}
	t.Fatalf("the group has not recovered: %+v", b.cluster.GroupInfo(group))
}
