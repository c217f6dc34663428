package command

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
)

func TestOnlyOurOwnFailuresAreReplayedAndOnce(t *testing.T) {
	c := kafkaConfig(t)
	store := openStore(t)
	failing := uuid.NewString()
	broken := &fakeWriter{answer: func(r *Request) (Answer, bool) {
		if r.ID.String() == failing {
			return Answer{Err: errors.New("value out of range")}, true
		}
		return Answer{}, true
	}}
	_, stop := startConsumer(t, c, broken, nil, Inventory{})
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	failed := send(c, TopicRequestStock, productX, request("commandId", `"`+failing+`"`), "correlation-id", "c-9")
	failed.Timestamp = at
	old := send(c, TopicRequestStock, productX, request())
	old.Timestamp = time.Now().Add(-800 * time.Hour)
	produce(t, c, failed, old, send(c, TopicRequestStock, productX, "x"), send(c, TopicReleaseStock, productX, releaseOf("quantity", "-1")))
	readTopic(t, c, TopicRequestStock+deadLetterSuffix).await(t, 3)
	readTopic(t, c, TopicReleaseStock+deadLetterSuffix).await(t, 1)
	stop()

	replayer := NewReplayer(c, store)
	var letters []Letter
	if err := replayer.List(t.Context(), func(l Letter) error { letters = append(letters, l); return nil }); err != nil {
		t.Fatal(err)
	}
	reasons := map[string]Letter{}
	for _, l := range letters {
		reasons[l.Reason] = l
	}
	if len(letters) != 4 || len(reasons) != 4 || reasons[ReasonFailed].From != c.topic(TopicRequestStock) || reasons[ReasonFailed].Time.IsZero() ||
		!strings.Contains(reasons[ReasonFailed].Error, "value out of range") {
		t.Fatalf("listed %+v", letters)
	}

	told := map[string]string{}
	replay := func() {
		t.Helper()
		clear(told)
		if err := replayer.Replay(t.Context(), func(l Letter) bool { return l.Reason != ReasonUnreadable }, func(l Letter, refusal string) { told[l.Reason] = refusal }); err != nil {
			t.Fatal(err)
		}
	}
	replay()
	if len(told) != 3 || told[ReasonFailed] != "" || !strings.Contains(told[ReasonInvalidCommand], "never answered") || !strings.Contains(told[ReasonTooOld], "twice") {
		t.Errorf("told %v", told)
	}
	replay()
	if told[ReasonFailed] != "it was replayed already" {
		t.Errorf("the second time: %v", told)
	}
	messages := readTopic(t, c, TopicRequestStock).await(t, 4)
	again := messages[len(messages)-1]
	h := headersOf(again)
	if len(messages) != 4 || string(again.Key) != productX || string(again.Value) != request("commandId", `"`+failing+`"`) || !again.Timestamp.Equal(at) ||
		len(h) != 1 || h["correlation-id"] != "c-9" {
		t.Errorf("replayed as %+v with %v", again, h)
	}

	mended := &fakeWriter{}
	_, _ = startConsumer(t, c, mended, nil, Inventory{})
	eventually(t, "the replayed command", func() bool { return len(mended.requests()) == 1 })
	if r := mended.requests()[0]; r.ID.String() != failing {
		t.Errorf("executed %+v", r)
	}
}

func TestALetterSaysWhyItIsNotReplayed(t *testing.T) {
	letter := func(reason, topic, from string, headers ...string) Letter {
		m := consumed("x", append(headers, headerReason, reason, headerTopic, from)...)
		m.Topic = topic
		return letterOf(m)
	}
	const topic, dead = "saga.request_stock", "saga.request_stock.dlq"
	for _, x := range []struct {
		letter Letter
		want   string
	}{
		{letter(ReasonFailed, dead, topic), ""},
		{letter(ReasonUnreadable, dead, topic), "can't be read any better"},
		{letter(ReasonTooOld, dead, topic), "executed twice"},
		{letter(ReasonInvalidCommand, dead, topic), "one outcome: send a correct command with a new commandId"},
		{letter(ReasonInvalidCommand, "x.saga.release_stock.dlq", "x.saga.release_stock"), "never answered, and it freed nothing: send a correct release"},
		{letter(ReasonUnsent, "product.outcomes.dlq", "log"), "record of the log"},
		{letter("", dead, ""), "only letters with reason FAILED"},
		{letter(ReasonFailed, dead, topic, headerOmitted, "2000000"), "too large"},
		{letter(ReasonFailed, dead, "product.reserved"), `it says it is from topic "product.reserved"`},
	} {
		if got := x.letter.Refusal(); !strings.Contains(got, x.want) || (got == "") != (x.want == "") {
			t.Errorf("%s from %q: %q, want %q", x.letter.Reason, x.letter.From, got, x.want)
		}
	}
}

// notes says of every letter that it was replayed then.
type notes struct{ at time.Time }

func (n notes) LetterDone(context.Context, string, int32, int64) error { return nil }

func (n notes) LettersDone(context.Context, string, int32) (map[int64]time.Time, error) {
	done := map[int64]time.Time{}
	for offset := range int64(10) {
		done[offset] = n.at
	}
	return done, nil
}

func TestALetterIsRefusedByItsAgeAndByANoteThatIsYounger(t *testing.T) {
	c := kafkaConfig(t)
	letter := func(release string, age time.Duration) *sarama.ProducerMessage {
		return send(c, TopicRequestStock+deadLetterSuffix, productX, release, headerReason, ReasonFailed, headerTopic, c.topic(TopicRequestStock),
			headerTime, time.Now().Add(-time.Minute).Format(time.RFC3339Nano), headerTimestamp, time.Now().Add(-age).Format(time.RFC3339Nano))
	}
	produce(t, c, letter("old", 721*time.Hour), letter("young", 719*time.Hour))
	refusals := func(book LetterBook) map[string]string {
		t.Helper()
		said := map[string]string{}
		if err := NewReplayer(c, book).Replay(t.Context(), func(Letter) bool { return true }, func(l Letter, refusal string) { said[string(l.Body)] = refusal }); err != nil {
			t.Fatal(err)
		}
		return said
	}
	if said := refusals(notes{time.Now()}); said["old"] != "it was replayed already" || said["young"] != "it was replayed already" {
		t.Errorf("noted since: %v", said)
	}
	if said := refusals(notes{time.Now().Add(-time.Hour)}); !strings.Contains(said["old"], "too old") || said["young"] != "" || len(said) != 2 {
		t.Errorf("noted before they were written: %v", said)
	}
	if sent := readTopic(t, c, TopicRequestStock).await(t, 1); len(sent) != 1 || string(sent[0].Value) != "young" {
		t.Errorf("sent again: %v", sent)
	}
}
