package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestLogLinesHaveTheKeysOfTheManual holds the keys of all log calls to the table in
// docs/operations.md, in both directions, so that a key has one name wherever it is logged.
func TestLogLinesHaveTheKeysOfTheManual(t *testing.T) {
	manual, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(manual), "\n## Log lines\n")
	table, _, _ = strings.Cut(table, "\n## ")
	known := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*`) \\|").FindAllStringSubmatch(table, -1) {
		for key := range strings.SplitSeq(row[1], ", ") {
			known[strings.Trim(key, "`")] = true
		}
	}
	used := map[string]bool{}
	for _, found := range logKeysOf(t, ".") {
		switch {
		case found.key == "":
			t.Errorf("%s: a key of this log call isn't a literal", found.at)
		case !known[found.key]:
			t.Errorf("%s: the manual has no log key %q", found.at, found.key)
		}
		used[found.key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		if !used[key] {
			t.Errorf("no log line has the key %q of the manual", key)
		}
	}
}

func TestLogKeysAreFound(t *testing.T) {
	dir := t.TempDir()
	const source = `package x
func f(log *slog.Logger, s *server, more []any) {
	log.Info("said", "a", 1, "b", 2)
	s.log.With("c", 1).WarnContext(ctx, "said", "d", 1, slog.Int("e", 2))
	log.LogAttrs(ctx, level, "said", slog.String("f", ""))
	logger.Error("said", key, 1)
	http.Error(w, "said", 500)
	t.Error("said", "x", 1)
}`
	if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, found := range logKeysOf(t, dir) {
		keys = append(keys, found.key)
	}
	slices.Sort(keys)
	if want := []string{"", "a", "b", "c", "d", "e", "f"}; !slices.Equal(keys, want) {
		t.Errorf("found %q, want %q", keys, want)
	}
}

// logKey is a key of a log call; "" where it isn't a literal.
type logKey struct{ key, at string }

// logKeysOf finds the keys of the log calls below a folder, but for those of tests and of what is for development only.
func logKeysOf(t *testing.T, dir string) (keys []logKey) {
	t.Helper()
	files := token.NewFileSet()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "dev", "generated", "testdata"}, d.Name()):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				for _, key := range keysOf(call) {
					keys = append(keys, logKey{key, files.Position(call.Pos()).String()})
				}
			}
			return true
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return keys
}

// before is how many arguments of a method of slog.Logger stand before its keys.
var before = map[string]int{
	"With": 0, "Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2, "Log": 3,
}

// keysOf are the keys of a call, where it is one of a logger or makes an attribute.
func keysOf(call *ast.CallExpr) (keys []string) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	if name, ok := method.X.(*ast.Ident); ok && name.Name == "slog" {
		if slices.Contains([]string{"String", "Int", "Int64", "Uint64", "Float64", "Bool", "Time", "Duration", "Any", "Group"}, method.Sel.Name) {
			return []string{literal(call.Args[0])}
		}
		if _, ok := before[method.Sel.Name]; !ok {
			return nil
		}
	} else if !isLogger(method.X) {
		return nil
	}
	from, ok := before[method.Sel.Name]
	if !ok || len(call.Args) < from {
		return nil
	}
	for args := call.Args[from:]; len(args) > 0; {
		if _, attribute := args[0].(*ast.CallExpr); attribute { // its key is found with it
			args = args[1:]
			continue
		}
		keys = append(keys, literal(args[0]))
		args = args[min(2, len(args)):]
	}
	return keys
}

// isLogger says whether an expression is called as loggers are here: log or logger, or what one of them returns.
func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "log" || x.Name == "logger"
	case *ast.SelectorExpr:
		return x.Sel.Name == "log" || x.Sel.Name == "logger"
	case *ast.CallExpr:
		method, ok := x.Fun.(*ast.SelectorExpr)
		return ok && (method.Sel.Name == "With" || method.Sel.Name == "New") && (isLogger(method.X) || isSlog(method.X))
	}
	return false
}

func isSlog(x ast.Expr) bool {
	name, ok := x.(*ast.Ident)
	return ok && name.Name == "slog"
}

func literal(x ast.Expr) string {
	if text, ok := x.(*ast.BasicLit); ok && text.Kind == token.STRING {
		if value, err := strconv.Unquote(text.Value); err == nil {
			return value
		}
	}
	return ""
}
