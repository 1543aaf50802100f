package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// grace is how long a command may take to end after it was asked to.
const grace = 20 * time.Second

// asGroup runs a command and everything that it starts as a process group, which is interrupted as by Ctrl-C when the
// command's context ends.
func asGroup(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.WaitDelay = grace
	if command.Cancel != nil {
		command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGINT) }
	}
}

// mark is an environment variable that every process that a job starts inherits.
type mark string

func newMark() mark { return mark("APIKEY_TEST_JOB=" + rand.Text()) }

// sweep kills the processes that still run with the mark. A test that was killed or timed out leaves its control plane
// behind: envtest's programs are in process groups of their own.
func (m mark) sweep() (killed int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ") // The pattern is valid. Without /proc there is nothing to sweep.
	for _, path := range paths {
		environment, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(environment, []byte(m)) {
			continue // Another user's, or gone.
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}
