package plan

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/graph/model"
)

// answer is the JSON of a root field while it is written.
type answer struct {
	*Execution
	root   *Field
	ctx    context.Context
	text   []byte
	start  int  // of the value in it
	whole  bool // it is written, with a null where it may be null
	path   []step
	errors gqlerror.List

	level   Level   // that is being written
	levelOf LevelOf // of the field levels
	levels  *Field
}

// step is a part of a path: a response key, or an index where there is no key.
type step struct {
	key   string
	index int
}

// write appends a value to an answer. It says whether it did: what is null and must not be is left
// out, and with it what it belongs to, up to what may be null (GraphQL, section 6.4.4). The others
// that belong to it are still written, for the sake of their errors.
type write[T any] func(a *answer, v T) bool

// field is how a selected field is written, with its key before it.
type field[T any] struct {
	key   string // or all of it, where it is the same for every object
	write write[T]
	step  step
	below bool // it has fields of its own
}

// object writes what is selected of an object; nil where a field isn't known.
func object[T any](selected Selection, of func(*Field) write[T]) write[T] {
	fields := make([]field[T], len(selected))
	for i, f := range selected {
		key := string(append(model.AppendString(nil, f.Key), ':'))
		if i > 0 {
			key = "," + key
		}
		if f.Name == "__typename" {
			fields[i] = field[T]{key: key + string(model.AppendString(nil, f.object))}
			continue
		}
		w := of(f)
		if w == nil {
			return nil
		}
		fields[i] = field[T]{key: key, write: w, step: step{key: f.Key}, below: len(f.of) > 0}
	}
	return func(a *answer, v T) bool {
		start, whole := len(a.text), true
		a.text = append(a.text, '{')
		for i := range fields {
			f := &fields[i]
			a.text = append(a.text, f.key...)
			switch {
			case f.write == nil:
			case f.below:
				a.path = append(a.path, f.step)
				whole = f.write(a, v) && whole
				a.path = a.path[:len(a.path)-1]
			default:
				whole = f.write(a, v) && whole
			}
		}
		if !whole {
			a.text = a.text[:start]
			return false
		}
		a.text = append(a.text, '}')
		return true
	}
}

// listed writes a list, and each of its elements where it lies.
func listed[T, E any](each write[*E], elements func(T) []E) write[T] {
	if each == nil {
		return nil
	}
	return func(a *answer, v T) bool {
		all := elements(v)
		return a.list(len(all), func(i int) bool { return each(a, &all[i]) })
	}
}

// list writes a list of what is small enough to be handed on.
func list[T, E any](each write[E], elements func(T) []E) write[T] {
	if each == nil {
		return nil
	}
	return func(a *answer, v T) bool {
		all := elements(v)
		return a.list(len(all), func(i int) bool { return each(a, all[i]) })
	}
}

func (a *answer) list(n int, each func(i int) bool) bool {
	start, whole := len(a.text), true
	a.text = append(a.text, '[')
	a.path = append(a.path, step{})
	for i := range n {
		if i > 0 {
			a.text = append(a.text, ',')
		}
		a.path[len(a.path)-1].index = i
		whole = each(i) && whole
	}
	a.path = a.path[:len(a.path)-1]
	if !whole {
		a.text = a.text[:start]
		return false
	}
	a.text = append(a.text, ']')
	return true
}

// orNull writes a value that may be null.
func orNull[T any](w write[T], missing func(T) bool) write[T] {
	if w == nil {
		return nil
	}
	return func(a *answer, v T) bool {
		if missing(v) || !w(a, v) {
			a.null()
		}
		return true
	}
}

// through writes what a value leads to.
func through[T, V any](w write[V], to func(T) V) write[T] {
	if w == nil {
		return nil
	}
	return func(a *answer, v T) bool { return w(a, to(v)) }
}

// append notes what the text is with something appended to it. While there was room the array is
// the same: then its address isn't written again, which costs the more the collector of garbage is
// at work.
func (a *answer) append(text []byte) {
	if cap(text) == cap(a.text) {
		a.text = a.text[:len(text)]
	} else {
		a.text = text
	}
}

func (a *answer) null() { a.text = append(a.text, "null"...) }

func id[T any](of func(T) uuid.UUID) write[T] {
	return func(a *answer, v T) bool {
		a.append(model.AppendID(a.text, of(v)))
		return true
	}
}

func text[T any, S ~string](of func(T) S) write[T] {
	return func(a *answer, v T) bool {
		a.append(model.AppendString(a.text, string(of(v))))
		return true
	}
}

// number writes a number, where the field's type can hold it.
func number[T any](f *Field, of func(T) int64) write[T] {
	check := model.CheckNumber(f.Definition.Type.Name())
	return func(a *answer, v T) bool {
		n := of(v)
		if err := check(n); err != nil {
			a.path = append(a.path, step{key: f.Key})
			a.fail(f, err)
			a.path = a.path[:len(a.path)-1]
			return false
		}
		a.append(model.AppendInt(a.text, n))
		return true
	}
}

func boolean[T any](of func(T) bool) write[T] {
	return func(a *answer, v T) bool {
		a.append(model.AppendBoolean(a.text, of(v)))
		return true
	}
}

func instant[T any](of func(T) time.Time) write[T] {
	return func(a *answer, v T) bool {
		a.append(model.AppendDateTime(a.text, of(v)))
		return true
	}
}

// fail notes the error of the field whose value was to be written; of an element of its, where no
// field is given.
func (a *answer) fail(f *Field, err error) {
	at := gqlerror.WrapPath(a.where(), err)
	if f != nil && f.Position != nil && f.Position.Line > 0 {
		at.Locations = []gqlerror.Location{{Line: f.Position.Line, Column: f.Position.Column}}
	}
	a.errors = append(a.errors, a.Present(a.ctx, at))
}

// where is the path of what is being written.
func (a *answer) where() ast.Path {
	path := make(ast.Path, len(a.path))
	for i, s := range a.path {
		if s.key != "" {
			path[i] = ast.PathName(s.key)
		} else {
			path[i] = ast.PathIndex(s.index)
		}
	}
	return path
}

// safely calls f, and makes its panic the error of what is being written.
func (a *answer) safely(f func()) {
	depth := len(a.path)
	defer func() {
		if cause := recover(); cause != nil {
			a.path = a.path[:depth]
			a.errors = append(a.errors, a.Present(a.ctx, gqlerror.WrapPath(a.where(), fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))))
		}
	}()
	f()
}

// readLevel reads the level of a variant into the answer.
func (a *answer) readLevel(variant uuid.UUID, f *Field) (err error) {
	a.level = Level{}
	a.safely(func() {
		if a.levels != f {
			bound, _ := MaxStaleness(f, a.Variables) // it was looked at before anything was read
			a.levelOf = a.Source.Levels(a.ctx, bound)
			a.levels = f
		}
		a.level, err = a.levelOf(variant)
	})
	return err
}
