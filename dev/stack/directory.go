package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is who PostgreSQL runs as: it refuses root.
type account struct {
	name     string
	uid, gid uint32
}

// unprivileged is the account for PostgreSQL, nil where this program itself is an ordinary user.
// initdb insists on an entry in the user database, so that a made-up uid won't do.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL does not run as root and there is neither a user postgres nor nobody to run it as")
}

func (a *account) attributes() *syscall.SysProcAttr {
	if a == nil {
		return &syscall.SysProcAttr{}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
}

func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

// enters says whether the account may walk down to path.
func (a *account) enters(path string) bool {
	if a == nil {
		return true
	}
	for p := path; ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil || !a.passes(info) {
			return false
		}
		if p == filepath.Dir(p) {
			return true
		}
	}
}

func (a *account) passes(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	mode := info.Mode().Perm()
	switch {
	case stat.Uid == a.uid:
		return mode&0o100 != 0
	case stat.Gid == a.gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}

// CacheDir is where what may be fetched or made again is kept: the user's cache directory; for root
// one that the account PostgreSQL runs as can enter too, which /root is not.
func CacheDir() (string, error) {
	dir := "/var/cache/product-service"
	if os.Geteuid() != 0 {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the user's cache directory: %w", err)
		}
		dir = filepath.Join(base, "product-service")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, nil
}

const temporaryPrefix = "product-service-stack-"

// Temporary is a directory for this process's throw-away data. A lock beside it, which the kernel
// frees with the process however that ends, tells the next process what may be swept away.
type Temporary struct {
	Dir  string
	lock *os.File
}

// NewTemporary makes one, and first sweeps away those of processes that were killed.
func NewTemporary() (*Temporary, error) {
	sweepTemporary()
	lock, err := os.CreateTemp("", temporaryPrefix+"*.lock")
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), lock.Close())
	}
	dir := strings.TrimSuffix(lock.Name(), ".lock")
	if err := errors.Join(os.Mkdir(dir, 0o711), os.Chmod(dir, 0o711)); err != nil { // whatever the umask
		return nil, errors.Join(err, lock.Close())
	}
	return &Temporary{Dir: dir, lock: lock}, nil
}

// Remove deletes it with all that is in it.
func (t *Temporary) Remove() error {
	return errors.Join(os.RemoveAll(t.Dir), os.Remove(t.lock.Name()), t.lock.Close())
}

// sweepTemporary removes what processes that were killed left behind. It is a courtesy: what can't
// be removed (another user's) stays.
func sweepTemporary() {
	locks, _ := filepath.Glob(filepath.Join(os.TempDir(), temporaryPrefix+"*.lock"))
	for _, name := range locks {
		lock, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			if os.RemoveAll(strings.TrimSuffix(name, ".lock")) == nil {
				_ = os.Remove(name)
			}
		}
		_ = lock.Close()
	}
}
