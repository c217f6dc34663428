package stack

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a child process that does not outlive this program: it is stopped in order by
// [Process.Stop], and on Linux the kernel signals it when this program dies without a chance to do
// so (kill -9).
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait, valid once done is closed
}

// StartProcess starts cmd in a process group of its own, so that a Ctrl-C in the terminal reaches
// only this program, which then stops its children in order. onDeath is what the child is sent if
// this program dies; other systems than Linux lack the means and ignore it.
func StartProcess(cmd *exec.Cmd, onDeath syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	signalOnDeath(cmd.SysProcAttr, onDeath)

	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel takes the death of the THREAD that forked for the parent's: this one stays
		// until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID is the process id of the child.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended; [Process.Err] then says how.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the child ended: nil for exit code 0. It blocks until then.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Signal sends sig; a child that has ended already is no error.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// ErrKilled says that a child had to be killed because it did not end in time.
var ErrKilled = errors.New("killed: it did not stop in time")

// Stop sends sig, waits up to grace and then kills. It returns [ErrKilled] in that case, otherwise nil.
func (p *Process) Stop(sig os.Signal, grace time.Duration) error {
	if err := p.Signal(sig); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return ErrKilled
}
