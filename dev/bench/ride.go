package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// outing is what came of a load.
type outing struct {
	done int
	took histogram
	time time.Duration
}

func (o outing) rate() float64 { return float64(o.done) / o.time.Seconds() }

// ride asks over keep-alive connections for some time, each as soon as its last answer came, or at
// a rate over all: an answer is then timed from when it was to be asked for. It speaks just enough
// HTTP to cost next to nothing on the machine that the server runs on too.
func ride(ctx context.Context, address string, readers int, bodies [][]byte, long time.Duration, rate float64) (outing, error) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	all := outing{took: newHistogram()}
	var next atomic.Int64
	var mu sync.Mutex
	var errs []error
	var riders sync.WaitGroup
	began := time.Now()
	for range readers {
		riders.Go(func() {
			mine := outing{took: newHistogram()}
			err := wire(address, func(ask func([]byte) error) error {
				for ctx.Err() == nil {
					n := next.Add(1) - 1
					due := time.Now()
					if rate > 0 {
						due = began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
						if due.Sub(began) > long {
							return nil
						}
						time.Sleep(time.Until(due))
					}
					if err := ask(bodies[int(n)%len(bodies)]); err != nil {
						return err
					}
					mine.done++
					mine.took.record(time.Since(due))
				}
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			all.done += mine.done
			all.took.Merge(mine.took.Histogram)
			errs = append(errs, err)
		})
	}
	riders.Wait()
	all.time = time.Since(began)
	return all, errors.Join(errs...)
}

// sendAll sends each body once.
func sendAll(ctx context.Context, address string, readers int, bodies [][]byte) error {
	var next atomic.Int64
	errs := make([]error, readers)
	var senders sync.WaitGroup
	for i := range readers {
		senders.Go(func() {
			errs[i] = wire(address, func(ask func([]byte) error) error {
				for ctx.Err() == nil {
					n := int(next.Add(1) - 1)
					if n >= len(bodies) {
						return nil
					}
					if err := ask(bodies[n]); err != nil {
						return err
					}
				}
				return context.Cause(ctx)
			})
		})
	}
	senders.Wait()
	return errors.Join(errs...)
}

// wire opens a connection on which use asks, one request after the other. An answer with errors is
// an error.
func wire(address string, use func(ask func(body []byte) error) error) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReaderSize(conn, 64<<10)
	var out []byte
	var content bytes.Buffer
	return use(func(query []byte) error {
		out = append(out[:0], "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "...)
		out = append(strconv.AppendInt(out, int64(len(query)), 10), "\r\n\r\n"...)
		if _, err := conn.Write(append(out, query...)); err != nil {
			return err
		}
		length, chunked := -1, false
		for first := true; ; first = false {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return err
			}
			if first && !bytes.Contains(line, []byte(" 200 ")) {
				return fmt.Errorf("the server answered %q", line)
			}
			if line = bytes.TrimSpace(line); len(line) == 0 {
				break
			}
			switch name, value, _ := bytes.Cut(line, []byte(":")); {
			case bytes.EqualFold(name, []byte("Content-Length")):
				if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
					return err
				}
			case bytes.EqualFold(name, []byte("Transfer-Encoding")):
				chunked = true
			}
		}
		body := io.LimitReader(in, int64(length))
		switch {
		case chunked:
			body = httputil.NewChunkedReader(in)
		case length < 0:
			return errors.New("an answer without a length")
		}
		content.Reset()
		if _, err := content.ReadFrom(body); err != nil {
			return err
		}
		if chunked { // the empty line after the last chunk
			if _, err := in.ReadSlice('\n'); err != nil {
				return err
			}
		}
		answer := content.Bytes()
		if bytes.HasPrefix(answer, []byte(`{"errors"`)) {
			return fmt.Errorf("the server answered %.300s", answer)
		}
		return nil
	})
}
