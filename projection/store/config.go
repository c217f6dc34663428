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
	// URL is a connection string of MongoDB, mongodb:// or mongodb+srv://. It may hold a password,
	// and is never printed.
	URL string `env:"MONGODB_URL,required,notEmpty"`

	// Database is the name of the database. Everything that this service keeps in MongoDB is in it.
	Database string `env:"MONGODB_DATABASE" envDefault:"product"`

	// Tuning.

	// PoolSize bounds the connections of one process.
	PoolSize uint64 `env:"MONGODB_MAX_CONNECTIONS" envDefault:"100"`

	// ReadTimeout bounds one read. It is sent to the server as maxTimeMS.
	ReadTimeout time.Duration `env:"PROJECTION_READ_TIMEOUT" envDefault:"3s"`

	// WriteTimeout bounds one command of the projector.
	WriteTimeout time.Duration `env:"PROJECTION_WRITE_TIMEOUT" envDefault:"30s"`

	// WaitTimeout is how long a read waits for a version that isn't projected yet.
	WaitTimeout time.Duration `env:"PROJECTION_WAIT_TIMEOUT" envDefault:"2s"`

	// MinPage is how many rows of the log the projector folds at once when it isn't behind.
	MinPage int `env:"PROJECTION_MIN_PAGE" envDefault:"500"`

	// MaxPage is how many rows of the log the projector folds at once when it is far behind.
	MaxPage int `env:"PROJECTION_MAX_PAGE" envDefault:"20000"`

	// Pace is the least time from one page to the next when the projector isn't behind. A longer
	// time makes fewer and larger writes.
	Pace time.Duration `env:"PROJECTION_PACE" envDefault:"25ms"`

	// Heartbeat is how often an idle shard records up to when it is complete.
	Heartbeat time.Duration `env:"PROJECTION_HEARTBEAT" envDefault:"1s"`

	// CacheBytes bounds the documents that the projector keeps in memory so as not to read them
	// again, in bytes.
	CacheBytes int `env:"PROJECTION_CACHE" envDefault:"33554432"`

	// ReadCache bounds the products and pages that readers keep in memory while they are told of
	// changes, in bytes. 0 keeps none.
	ReadCache int `env:"PROJECTION_READ_CACHE" envDefault:"16777216"`
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
		{"PROJECTION_HEARTBEAT", c.Heartbeat, 10 * time.Millisecond, time.Minute},
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
