package simulator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// line is one change in the journal.
type line struct {
	Record     *Record     `json:"record,omitempty"`
	Key        string      `json:"key,omitempty"`
	Idempotent *idempotent `json:"idempotent,omitempty"`
}

// journal appends each change before it is answered, so that a killed process has lost nothing it promised.
type journal struct{ file *os.File }

// openJournal replays dir/inventory.jsonl and opens it for appending. A last line cut short by a
// kill is dropped.
func openJournal(dir string, replay func([]byte) error) (*journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the simulator's directory: %w", err)
	}
	path := filepath.Join(dir, "inventory.jsonl")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the simulator's journal: %w", err)
	}
	good, err := replayAll(file, replay)
	if err == nil {
		err = file.Truncate(good)
	}
	if err == nil {
		_, err = file.Seek(good, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), file.Close())
	}
	return &journal{file: file}, nil
}

// replayAll returns where the last complete line ends.
func replayAll(file io.Reader, replay func([]byte) error) (good int64, err error) {
	reader := bufio.NewReader(file)
	for {
		text, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return good, nil
		}
		if err != nil {
			return good, err
		}
		if err := replay(bytes.TrimSpace(text)); err != nil {
			return good, fmt.Errorf("at byte %d: %w", good, err)
		}
		good += int64(len(text))
	}
}

func (j *journal) write(l line) error {
	if j == nil {
		return nil
	}
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode a change: %w", err)
	}
	if _, err := j.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write a change: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}
