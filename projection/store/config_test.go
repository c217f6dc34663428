package store

import "testing"

func TestAConnectionStringIsWhatTheDriverTakes(t *testing.T) {
	for url, want := range map[string]bool{
		"mongodb://h": true,
		"mongodb://u:p%25@a:27017,b:27018/?replicaSet=rs&tls=true":    true,
		"mongodb+srv://u:p@cluster.example/?srvMaxHosts=2&w=majority": true, // which is not looked up
		"mongodb+srv://u:p@cluster.example/?w=1&srvServiceName=x":     true,
		"":                                     false,
		"http://h":                             false,
		"mongodb://":                           false,
		"mongodb+srv://":                       false,
		"mongodb://u:pa%ssword@h:27017/x":      false,
		"mongodb://u:p@h/?maxPoolSize=abc":     false,
		"mongodb://h:99999":                    false,
		"mongodb://a,b/?directConnection=true": false,
	} {
		if got := isConnectionString(url); got != want {
			t.Errorf("%q: %v, want %v", url, got, want)
		}
	}
}
