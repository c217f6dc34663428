package stack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func TestMain(m *testing.M) { Main(m) }

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// query runs one statement of one value on a connection of its own.
func query[T any](t *testing.T, url, statement string, args ...any) T {
	t.Helper()
	ctx := testContext(t)
	var value T
	err := withConn(ctx, url, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, statement, args...).Scan(&value)
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return value
}

func execute(url, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return withConn(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, statement)
		return err
	})
}

func TestPostgresHandsOutPreparedDatabases(t *testing.T) {
	runs := 0
	prepare := func(url string) error {
		runs++
		return execute(url, "CREATE TABLE item (name text); INSERT INTO item VALUES ('prepared')")
	}
	first, second := Postgres(t, prepare), Postgres(t, prepare)
	if first == second {
		t.Fatal("two tests share a database")
	}
	if err := execute(first, "INSERT INTO item VALUES ('first')"); err != nil {
		t.Fatal(err)
	}
	if n := query[int](t, first, "SELECT count(*) FROM item"); n != 2 {
		t.Errorf("first database holds %d rows, want 2", n)
	}
	if n := query[int](t, second, "SELECT count(*) FROM item"); n != 1 {
		t.Errorf("second database holds %d rows, want 1", n)
	}
	if runs != 1 {
		t.Errorf("prepare ran %d times, want once", runs)
	}
	if bare := query[int](t, Postgres(t, nil), "SELECT count(*) FROM pg_tables WHERE tablename = 'item'"); bare != 0 {
		t.Error("a database without prepare holds its table")
	}
}

func TestPostgresDropsTheDatabaseWithTheTest(t *testing.T) {
	var url, name string
	t.Run("user", func(t *testing.T) {
		url = Postgres(t, nil)
		name = query[string](t, url, "SELECT current_database()")
		conn, err := pgx.Connect(testContext(t), url) // one that was forgotten must not keep it
		if err != nil {
			t.Fatal(err)
		}
		_ = conn
	})
	if n := query[int](t, Postgres(t, nil), "SELECT count(*) FROM pg_database WHERE datname = $1", name); n != 0 {
		t.Errorf("database %s outlived its test", name)
	}
}

// temporaryDir is one that PostgreSQL's account can enter, unlike those of testing.T.
func temporaryDir(t *testing.T) string {
	t.Helper()
	tmp, err := NewTemporary()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tmp.Remove(); err != nil {
			t.Error(err)
		}
	})
	return tmp.Dir
}

func TestPostgresDataSurviveARestart(t *testing.T) {
	ctx := testContext(t)
	dir := temporaryDir(t)
	server, err := StartPostgres(ctx, dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.EnsureDatabase(ctx, "kept"); err != nil {
		t.Fatal(err)
	}
	if err := execute(server.URL("kept"), "CREATE TABLE item AS SELECT 42 AS n"); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	server, err = StartPostgres(ctx, dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.EnsureDatabase(ctx, "kept"); err != nil {
		t.Error(err)
	}
	if n := query[int](t, server.URL("kept"), "SELECT n FROM item"); n != 42 {
		t.Errorf("read %d after the restart, want 42", n)
	}
	if fsync := query[string](t, server.URL("kept"), "SHOW fsync"); fsync != "on" {
		t.Errorf("fsync is %s on durable data", fsync)
	}
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
}

// A directory that PostgreSQL's account can't enter (root's home, say) is served all the same, and
// deleting it deletes the data: a fresh one of the same name does not find them.
func TestPostgresServesAClosedDirectory(t *testing.T) {
	ctx := testContext(t)
	closed := filepath.Join(t.TempDir(), "closed")
	dir := filepath.Join(closed, "dir")
	for round := range 3 {
		if err := os.MkdirAll(closed, 0o700); err != nil {
			t.Fatal(err)
		}
		server, err := StartPostgres(ctx, dir, false)
		if err != nil {
			t.Fatal(err)
		}
		kept := query[bool](t, server.URL("postgres"), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'kept')")
		if want := round == 1; kept != want {
			t.Errorf("round %d: data there: %t, want %t", round, kept, want)
		}
		if err := server.EnsureDatabase(ctx, "kept"); err != nil {
			t.Error(err)
		}
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
		if round > 0 {
			if err := os.RemoveAll(closed); err != nil {
				t.Error(err)
			}
		}
	}
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	sweepPlaces(cache)
	origins, err := filepath.Glob(filepath.Join(cache, placePrefix+"*"+originSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range origins {
		if home, err := os.Readlink(origin); err == nil && strings.HasPrefix(home, closed) {
			t.Errorf("%s outlived %s", origin, home)
		}
	}
}

func connectMongo(t *testing.T, url string) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestMongoHandsOutDatabases(t *testing.T) {
	ctx := testContext(t)
	url, database := Mongo(t)
	otherURL, other := Mongo(t)
	if url != otherURL || database == other {
		t.Fatalf("got %s/%s and %s/%s, want one server and two databases", url, database, otherURL, other)
	}
	client := connectMongo(t, url)
	defer func() { _ = client.Disconnect(ctx) }()
	items := client.Database(database).Collection("items")
	if _, err := items.InsertOne(ctx, bson.M{"_id": "a", "n": 7}); err != nil {
		t.Fatal(err)
	}
	var found struct{ N int }
	if err := items.FindOne(ctx, bson.M{"_id": "a"}).Decode(&found); err != nil || found.N != 7 {
		t.Errorf("found %+v, %v; want n 7", found, err)
	}
	err := client.Database(other).Collection("items").FindOne(ctx, bson.M{"_id": "a"}).Err()
	if !errors.Is(err, mongo.ErrNoDocuments) {
		t.Errorf("the other database answers %v, want no documents", err)
	}
}

func TestMongoDataSurviveARestart(t *testing.T) {
	ctx := testContext(t)
	dir := temporaryDir(t)
	for round := range 2 {
		postgres, err := StartPostgres(ctx, dir, true)
		if err != nil {
			t.Fatal(err)
		}
		server, err := StartMongo(ctx, dir, postgres, discard)
		if err != nil {
			t.Fatal(err)
		}
		client := connectMongo(t, server.URL())
		items := client.Database("kept").Collection("items")
		if _, err := items.UpdateOne(ctx, bson.M{"_id": "a"}, bson.M{"$inc": bson.M{"n": 1}}, options.UpdateOne().SetUpsert(true)); err != nil {
			t.Error(err)
		}
		var found struct{ N int }
		if err := items.FindOne(ctx, bson.M{"_id": "a"}).Decode(&found); err != nil || found.N != round+1 {
			t.Errorf("round %d: found %+v, %v", round, found, err)
		}
		if err := errors.Join(client.Disconnect(ctx), server.Stop(), postgres.Stop()); err != nil {
			t.Error(err)
		}
	}
}
