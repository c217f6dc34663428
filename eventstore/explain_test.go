package eventstore

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// The tables that grow with use; the others have a row an instance or a shard.
var big = map[string]bool{"log": true, "product_head": true, "reservation": true, "inbox": true, "variant": true, "dead_letter": true}

// Where a big table may be read without the condition of an index, and why.
var exceptions = map[string]string{
	"count_pending_variants": "counts all that wait: the partial indexes hold only those",
	"restart_variants":       "changes all that are stopped: the partial index holds only those",
}

func fill(t *testing.T, s *Store) {
	for _, sql := range []string{
		// 120,000 rows over all shards, a third of them facts
		`insert into log select n % 32, n / 32 + 1, md5((n % 5000)::text)::uuid, case when n % 3 > 0 then n end, case when n % 3 > 0 then 'E' else 'F' || n % 5 end,
			md5(n::text)::uuid, '{}', now() - interval '90 days' + n * interval '1 minute' from generate_series(0, 119999) n`,
		`insert into inbox select command_id, 0, shard, pos, at from log`,
		`insert into product_head select md5(n::text)::uuid, 1, 2, 100, 0, 10, 1 from generate_series(1, 50000) n`,
		`insert into reservation select md5((n % 5000)::text)::uuid, md5(n::text)::uuid, '', 1, abs(n % 2), case abs(n % 2) when 1 then 'ACTIVE' else 'RELEASED' end,
			now() + n * interval '1 second' from generate_series(-1000, 50000) n`,
		`insert into variant (variant_id, product_id, sku, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, record)
			select md5(n::text)::uuid, md5((n / 2)::text)::uuid, n, 0, 0, n % 1000 = 0, '', case when n % 100 > 1 then 'CREATED' when n % 100 = 0 then 'STOPPED' else 'PENDING' end
			from generate_series(1, 50000) n`,
		`insert into lease (role, shard) select r, n from unnest(array['relay', 'projector']) r, generate_series(0, 31) n`,
		`insert into dead_letter select 't' || n % 3, n % 8, n from generate_series(1, 20000) n`,
		`vacuum analyze`,
	} {
		s.exec(t, sql)
	}
}

type plan struct {
	NodeType  string `json:"Node Type"`
	Relation  string `json:"Relation Name"`
	Index     string `json:"Index Name"`
	IndexCond string `json:"Index Cond"`
	Filter    string `json:"Filter"`
	Plans     []plan `json:"Plans"`
}

// scans returns what in the plan reads a big table, or an index of one, from end to end.
func (p plan) scans() []string {
	var found []string
	switch {
	case p.NodeType == "Seq Scan" && big[p.Relation]:
		found = append(found, fmt.Sprintf("Seq Scan on %s, filter %s", p.Relation, p.Filter))
	case p.IndexCond == "" && (p.NodeType == "Bitmap Index Scan" || strings.HasPrefix(p.NodeType, "Index") && big[p.Relation]):
		found = append(found, fmt.Sprintf("%s of all of %s, filter %s", p.NodeType, p.Index, p.Filter))
	}
	for _, below := range p.Plans {
		found = append(found, below.scans()...)
	}
	return found
}

// Every statement must find its rows by an index whatever its parameters are, so it is the generic
// plan that is looked at: on empty tables, because the plans of a new database are made there and
// kept while it fills, and on large ones.
func TestNoStatementScansABigTable(t *testing.T) {
	t.Run("new", func(t *testing.T) { explainAll(t, open(t)) })
	t.Run("filled", func(t *testing.T) {
		s := open(t)
		fill(t, s)
		explainAll(t, s)
	})
	for name := range exceptions {
		if _, err := fs.Stat(files, "sql/"+name+".sql"); err != nil {
			t.Error(err)
		}
	}
}

func explainAll(t *testing.T, s *Store) {
	conn := must[*pgxpool.Conn](t)(s.pool.Acquire(t.Context()))
	defer conn.Release()
	for _, file := range must[[]string](t)(fs.Glob(files, "sql/*.sql")) {
		name := strings.TrimSuffix(path.Base(file), ".sql")
		t.Run(name, func(t *testing.T) {
			text := explain(t, conn, name)
			var plans []struct{ Plan plan }
			if err := json.Unmarshal(text, &plans); err != nil {
				t.Fatal(err)
			}
			found := plans[0].Plan.scans()
			if exceptions[name] == "" && len(found) > 0 {
				t.Errorf("%s\n%s", strings.Join(found, "\n"), text)
			}
			if exceptions[name] != "" && len(found) == 0 {
				t.Errorf("it has an exception, which it doesn't need")
			}
		})
	}
}

func explain(t *testing.T, conn *pgxpool.Conn, name string) (plan []byte) {
	if _, err := conn.Exec(t.Context(), "prepare "+name+" as "+statement(name)); err != nil {
		t.Fatal(err)
	}
	var parameters int
	if err := conn.QueryRow(t.Context(), "select cardinality(parameter_types) from pg_prepared_statements where name = $1", name).Scan(&parameters); err != nil {
		t.Fatal(err)
	}
	call := name
	if parameters > 0 {
		call += "(null" + strings.Repeat(", null", parameters-1) + ")"
	}
	if err := conn.QueryRow(t.Context(), "explain (format json) execute "+call).Scan(&plan); err != nil {
		t.Fatal(err)
	}
	return plan
}
