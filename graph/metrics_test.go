package graph

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	f := fakesOf(newCatalogue(1))
	reg := prometheus.NewRegistry()
	h, err := Handler(testConfig(t), Services{Reads: f, Levels: f, Commands: f, Gate: everybody(t)}, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		`query SecretName{products{totalCount}}`, `{products{totalCount}}`, `{products(first:0){totalCount}}`,
		`mutation{updateProduct(input:{productId:"x"}){version}}`, `{nothing}`, `{`, `{a{a{a{a{a{a{a{a{a{a{a}}}}}}}}}}}`,
	} {
		post(t, h, query, "")
	}
	send(t, h, exchange{header: []string{"Accept", "text/html"}}.request())
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			count := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if h := m.GetHistogram(); h != nil {
				count = float64(h.GetSampleCount())
			}
			got = append(got, fmt.Sprintf("%s %s %g", strings.TrimPrefix(family.GetName(), "product_service_graphql_"), strings.Join(labels, " "), count))
		}
	}
	slices.Sort(got)
	want := []string{
		"connections  0",
		"documents_total other 4",
		"operation_duration_seconds invalid none 2", "operation_duration_seconds limited none 1", "operation_duration_seconds ok mutation 1",
		"operation_duration_seconds ok query 2", "operation_duration_seconds partial query 1",
		"refusals_total BAD_USER_INPUT 1", "refusals_total GRAPHQL_PARSE_FAILED 1", "refusals_total GRAPHQL_VALIDATION_FAILED 1", "refusals_total QUERY_TOO_DEEP 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
