// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// fakeEntrypoint replaces Tekton's entrypoint. Its arguments are operations that it performs in order:
//
//	write FILE TEXT   put a text into a file
//	print TEXT, eprint TEXT, echo, env NAME, cwd   write to a standard stream; echo copies the standard input
//	await SIGNAL FILE   make the file, wait for the signal, print its number
//	leave FILE TEXT   leave an orphan behind that keeps writing the text into the file
//	leave-dead   leave an orphan behind that ends at once
//	die SIGNAL   die of the signal
//	exit CODE
func fakeEntrypoint(args []string) error {
	next := func() string {
		if len(args) == 0 {
			return ""
		}
		arg := args[0]
		args = args[1:]
		return arg
	}
	for len(args) > 0 {
		if err := operate(next(), next); err != nil {
			return err
		}
	}
	return nil
}

func operate(operation string, next func() string) error {
	switch operation {
	case "write":
		return os.WriteFile(next(), []byte(next()), 0o666)
	case "print":
		_, err := fmt.Print(next())
		return err
	case "eprint":
		_, err := fmt.Fprint(os.Stderr, next())
		return err
	case "echo":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "env":
		_, err := fmt.Print(os.Getenv(next()))
		return err
	case "cwd":
		dir, err := os.Getwd()
		fmt.Print(dir)
		return err
	case "await":
		return await(next(), next())
	case "leave":
		return leave(next(), next())
	case "leave-dead":
		return exec.Command("true").Start()
	case "scribble":
		return scribble(next(), next())
	case "die":
		return die(next())
	case "exit":
		code, err := strconv.Atoi(next())
		if err != nil {
			return err
		}
		os.Exit(code)
	}
	return fmt.Errorf("unknown operation %q", operation)
}

func await(number, ready string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.Signal(n))
	if err := os.WriteFile(ready, nil, 0o666); err != nil {
		return err
	}
	got, ok := (<-signals).(syscall.Signal)
	fmt.Printf("got %d\n", int(got))
	if !ok {
		return fmt.Errorf("no number")
	}
	return nil
}

func leave(file, text string) error {
	self, err := exec.LookPath("entrypoint")
	if err != nil {
		return err
	}
	orphan := exec.Command(self, "scribble", file, text)
	orphan.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := orphan.Start(); err != nil {
		return err
	}
	for { // until it has written something
		if b, err := os.ReadFile(file); err == nil && string(b) == text {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}

// scribble overwrites the beginning of file with text until it is killed. It ends after a minute, so that a
// failing test leaves nothing behind.
func scribble(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			return err
		}
	}
	return nil
}

// die sends the signal through the kernel instead of the Go runtime, so that the process really dies of it.
func die(number string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	signal.Reset(syscall.Signal(n))
	if err := syscall.Kill(os.Getpid(), syscall.Signal(n)); err != nil {
		return err
	}
	time.Sleep(time.Minute)
	return nil
}
