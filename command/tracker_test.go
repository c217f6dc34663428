package command

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// Whatever the order in which messages are settled, the marks are those of a plain model: the
// offset after the longest prefix of settled messages, each once, ever growing.
func TestTrackerMarksTheSettledPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var marks []int64
		window := rapid.SampledFrom([]int{1, 2, 8, 64, 256}).Draw(t, "window")
		tr := newTracker(window, func(next int64) { marks = append(marks, next) })
		var offsets []int64
		var open []uint64 // numbers not settled
		settled := map[uint64]bool{}
		marked := func() int64 {
			n := uint64(0)
			for settled[n] {
				n++
			}
			if n == 0 {
				return -1
			}
			return offsets[n-1] + 1
		}
		for range rapid.IntRange(1, 600).Draw(t, "steps") {
			first := uint64(len(offsets))
			if len(open) > 0 {
				first = slices.Min(open)
			}
			full := len(offsets)-int(first) >= window
			if full || len(open) > 0 && rapid.Bool().Draw(t, "settle") {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				number := open[i]
				open = slices.Delete(open, i, i+1)
				settled[number] = true
				tr.settle(number)
			} else {
				gap := rapid.Int64Range(1, 3).Draw(t, "gap") // offsets have holes where Kafka keeps markers
				offset := gap
				if len(offsets) > 0 {
					offset += offsets[len(offsets)-1]
				}
				number, err := tr.add(context.Background(), offset)
				if err != nil || number != uint64(len(offsets)) {
					t.Fatalf("add: %d, %v", number, err)
				}
				offsets, open = append(offsets, offset), append(open, number)
			}
			if want := marked(); want >= 0 && (len(marks) == 0 || marks[len(marks)-1] != want) {
				t.Fatalf("marked %v, want %d last", marks, want)
			}
		}
		if !slices.IsSorted(marks) || len(slices.Compact(slices.Clone(marks))) != len(marks) {
			t.Fatalf("marks don't grow: %v", marks)
		}
	})
}

func TestTrackerHoldsBackBeyondItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTracker(2, func(int64) {})
		for offset := range int64(2) {
			if _, err := tr.add(t.Context(), offset); err != nil {
				t.Fatal(err)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := tr.add(ended, 2); !errors.Is(err, context.Canceled) {
			t.Fatalf("a third message of two: %v", err)
		}
		added := make(chan uint64, 1)
		go func() {
			number, _ := tr.add(t.Context(), 2)
			added <- number
		}()
		tr.settle(1)
		synctest.Wait()
		select {
		case n := <-added:
			t.Fatalf("message %d was let in before the oldest was settled", n)
		default:
		}
		tr.settle(0)
		if n := <-added; n != 2 {
			t.Fatalf("got number %d", n)
		}
		tr.undo(2)
		if left := tr.drained(t.Context()); left != 0 {
			t.Fatalf("%d left", left)
		}
	})
}
