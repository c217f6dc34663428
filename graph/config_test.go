package graph

import (
	"strings"
	"testing"
)

func TestConfigTellsEveryFault(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings []string
		faults   []string
	}{
		{"as developers run it", nil, nil},
		{"origins", []string{"CORS_ORIGINS", "https://shop.example,http://localhost:3000"}, nil},
		{"several", []string{"GRAPHQL_INTROSPECTION", "yes", "CORS_ORIGINS", "*,https://a.example/", "GRAPHQL_TIMEOUT", "-1s", "GRAPHQL_MAX_DEPTH", "0"},
			[]string{"GRAPHQL_INTROSPECTION", `"*"`, `"https://a.example/"`, "GRAPHQL_TIMEOUT", "GRAPHQL_MAX_DEPTH"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := testConfig(t, test.settings...).Validate()
			if len(test.faults) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no fault is told")
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) != len(test.faults) {
				t.Errorf("%d faults, want %d:\n%v", len(lines), len(test.faults), err)
			}
			for _, want := range test.faults {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("nothing tells of %s:\n%v", want, err)
				}
			}
		})
	}
}
