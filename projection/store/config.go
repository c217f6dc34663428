package store

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Config says where the read model lives and how it is kept.
type Config struct {
	URL      string `env:"MONGODB_URL"`                              // mongodb:// or mongodb+srv:// connection string; may hold a password
	Database string `env:"MONGODB_DATABASE" envDefault:"product"`    // everything of this service is in it
	PoolSize uint64 `env:"MONGODB_MAX_CONNECTIONS" envDefault:"100"` // the most connections of one process

	ReadTimeout  time.Duration `env:"PROJECTION_READ_TIMEOUT" envDefault:"3s"`   // of one read, sent to the server as maxTimeMS
	WriteTimeout time.Duration `env:"PROJECTION_WRITE_TIMEOUT" envDefault:"30s"` // of one command of the projector
	WaitTimeout  time.Duration `env:"PROJECTION_WAIT_TIMEOUT" envDefault:"2s"`   // how long a read waits for a version that isn't projected yet

	MinPage    int           `env:"PROJECTION_MIN_PAGE" envDefault:"500"`        // rows of the log folded at once when nothing lags
	MaxPage    int           `env:"PROJECTION_MAX_PAGE" envDefault:"20000"`      // … when much does
	CacheBytes int           `env:"PROJECTION_CACHE" envDefault:"33554432"`      // of documents the projector keeps, so as not to read them again
	ReadCache  int           `env:"PROJECTION_READ_CACHE" envDefault:"16777216"` // of products and pages that readers keep while they hear of changes; 0: none
	Pace       time.Duration `env:"PROJECTION_PACE" envDefault:"25ms"`           // the least time from page to page when nothing lags: fewer, larger writes
	MaxPoll    time.Duration `env:"PROJECTION_MAX_POLL" envDefault:"250ms"`      // the slowest pace of asking an idle log for news
	Heartbeat  time.Duration `env:"PROJECTION_HEARTBEAT" envDefault:"1s"`        // how often idle shards say up to when they are complete
	Retry      time.Duration `env:"PROJECTION_RETRY" envDefault:"1s"`            // the longest pause before a failed page is tried again
}

// Validate returns every fault of the configuration.
func (c Config) Validate() error {
	var faults []error
	fault := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf(name+": "+format, args...))
	}
	if !isConnectionString(c.URL) {
		fault("MONGODB_URL", "it is no MongoDB connection string; it looks like mongodb://user:password@host:27017/?replicaSet=rs0 or mongodb+srv://user:password@host, "+
			"with the password percent-encoded")
	}
	if c.Database == "" || len(c.Database) > 63 || strings.ContainsAny(c.Database, "/\\. \"$*<>:|?") {
		fault("MONGODB_DATABASE", "it is %q; it must be 1 to 63 characters without any of /\\. \"$*<>:|?", c.Database)
	}
	if c.PoolSize < 4 {
		fault("MONGODB_MAX_CONNECTIONS", "it is %d; it must be 4 or more", c.PoolSize)
	}
	durations := []struct {
		name        string
		value       time.Duration
		least, most time.Duration
	}{
		{"PROJECTION_READ_TIMEOUT", c.ReadTimeout, 10 * time.Millisecond, time.Minute},
		{"PROJECTION_WRITE_TIMEOUT", c.WriteTimeout, 100 * time.Millisecond, 10 * time.Minute},
		{"PROJECTION_WAIT_TIMEOUT", c.WaitTimeout, time.Millisecond, time.Minute},
		{"PROJECTION_PACE", c.Pace, 0, 10 * time.Second},
		{"PROJECTION_MAX_POLL", c.MaxPoll, 5 * time.Millisecond, 10 * time.Second},
		{"PROJECTION_HEARTBEAT", c.Heartbeat, 10 * time.Millisecond, time.Minute},
		{"PROJECTION_RETRY", c.Retry, time.Millisecond, time.Minute},
	}
	for _, d := range durations {
		if d.value < d.least || d.value > d.most {
			fault(d.name, "it is %s; it must be %s to %s", d.value, d.least, d.most)
		}
	}
	if c.MinPage < 1 || c.MaxPage < c.MinPage || c.MaxPage > 100_000 {
		fault("PROJECTION_MIN_PAGE, PROJECTION_MAX_PAGE", "they are %d and %d; they must be 1 to 100000, the first no more than the second", c.MinPage, c.MaxPage)
	}
	if c.CacheBytes < 1<<20 {
		fault("PROJECTION_CACHE", "it is %d; it must be 1048576 bytes or more", c.CacheBytes)
	}
	if c.ReadCache < 0 {
		fault("PROJECTION_READ_CACHE", "it is %d; it must be a number of bytes, or 0 to keep nothing", c.ReadCache)
	}
	return errors.Join(faults...)
}

var ofSRV = regexp.MustCompile(`(?i)srv(MaxHosts|ServiceName)=[^&]*&?`)

// isConnectionString says whether the driver takes the string. What the driver says is not
// repeated: it may quote the password. The names behind mongodb+srv:// are looked up only when it
// connects; here such a string is checked as if it named a server itself.
func isConnectionString(url string) bool {
	if named, srv := strings.CutPrefix(url, "mongodb+srv://"); srv {
		url = "mongodb://" + ofSRV.ReplaceAllString(named, "")
	}
	return options.Client().ApplyURI(url).Validate() == nil
}
