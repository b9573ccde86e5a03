// SPDX-License-Identifier: Apache-2.0

// Package step is the contract between the injection, which rewrites the command line of a step's container,
// and the signer, which that command line starts.
//
// Arguments configure the signer, never environment variables: the step inherits the environment, and a
// wrapped step must have the same one as a stock step.
package step

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Commands of the signer.
const (
	CommandRun     = "run"     // run [flags of Config] -- COMMAND [ARG...]
	CommandInstall = "install" // install DESTINATION
	CommandEmit    = "emit"    // emit PATH VALUE
)

// Paths of the signer: in its own image, and in a pod to which it was delivered.
const (
	ImagePath = "/ko-app/signer"
	MountPath = "/tekton/sign"
	PodPath   = MountPath + ImagePath
)

// MaxMessage is the maximum size of a container's termination message in bytes, in Kubernetes and in Tekton.
const MaxMessage = 4096

// MaxPatience is the longest time for which a signer may try to get a token or an SVID.
const MaxPatience = 5 * time.Minute

// privateSuffix is added to a post file to make the private one. Both are in the same folder, so that
// renaming is atomic.
const privateSuffix = ".unsigned"

// Config describes to the signer the step that it wraps.
type Config struct {
	Namespace       string
	TaskRun         string
	TaskRunUID      signing.UID
	Container       string
	Index           uint8  // position among the pod's step containers
	Count           uint8  // number of the pod's step containers
	Share           int    // bytes that the container's termination message may have
	Room            int    // bytes that it may have after one more container joins the pod; 0 if unknown
	PostFile        string // file that starts the next step; empty if the entrypoint writes it itself
	TerminationPath string
	Compress        bool // the entrypoint compresses termination messages, so the signer may compress as well
	MayCompress     bool // Tekton reads compressed messages: the signer compresses those that are too long
	Required        bool // results cannot be used without evidence, so evidence may take all of Share
	Options
	API      APIServer
	Patience time.Duration // how long to wait for an API server that may answer later; whole seconds
	Values   *Values       // files with the results, if they travel by the log of Tekton's results sidecar; else nil
}

// Options define how the steps of a cluster sign.
type Options struct {
	Backend signing.Backend
	Format  signing.Format
	// Only for backends that sign with tokens.
	Binding signing.Binding
	Tokens  signing.Tokens
	SPIRE   SPIRE // only for the backend spire
}

// Validate returns an error for the first option with which no signer can sign.
func (o Options) Validate() error {
	if _, err := signing.ParseBackend(string(o.Backend)); err != nil {
		return err
	}
	if _, err := signing.ParseFormat(string(o.Format)); err != nil {
		return err
	}
	if err := o.SPIRE.validate(o.Backend); err != nil {
		return err
	}
	if !o.Backend.HasBindings() {
		return o.noTokens()
	}
	if _, err := signing.ParseBinding(string(o.Binding)); err != nil {
		return err
	}
	if err := signing.CheckBinding(o.Format, o.Binding); err != nil {
		return err
	}
	if o.Tokens.Audience == "" {
		return errors.New("the audience prefix is missing")
	}
	if err := signing.CheckLifetime(o.Tokens.Lifetime); err != nil {
		return fmt.Errorf("lifetime of tokens: %w", err)
	}
	return nil
}

// noTokens returns an error if any option for tokens is set.
func (o Options) noTokens() error {
	if o.Binding != "" || o.Tokens != (signing.Tokens{}) {
		return fmt.Errorf("backend %s signs without tokens, got a binding, an audience prefix or a lifetime of tokens",
			o.Backend)
	}
	return nil
}

// SPIRE describes how a signer gets its SVID, only for the backend spire.
type SPIRE struct {
	TrustDomain string // of the SVID
	Socket      string // file name of the agent's socket in the folder that the add-on mounts
}

const (
	flagTrustDomain = "spire-trust-domain"
	flagSocket      = "spire-socket"
)

// validate returns an error for the first part that no signer can use.
func (s SPIRE) validate(backend signing.Backend) error {
	if backend != signing.BackendSPIRE {
		if s != (SPIRE{}) {
			return fmt.Errorf("backend %s signs without SPIRE, got -%s or -%s", backend, flagTrustDomain, flagSocket)
		}
		return nil
	}
	domain, err := spiffeid.TrustDomainFromString(s.TrustDomain)
	if err != nil || domain.Name() != s.TrustDomain {
		return fmt.Errorf("expected the name of a SPIFFE trust domain for -%s, got %q", flagTrustDomain, s.TrustDomain)
	}
	if s.Socket == "" || s.Socket == "." || s.Socket == ".." || s.Socket != path.Base(s.Socket) {
		return errors.New("expected the name of a file for -" + flagSocket)
	}
	return nil
}

// args returns the arguments that addFlags reads.
func (s SPIRE) args() []string {
	if s == (SPIRE{}) {
		return nil
	}
	return []string{"-" + flagTrustDomain, s.TrustDomain, "-" + flagSocket, s.Socket}
}

func (s *SPIRE) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.TrustDomain, flagTrustDomain, "", "")
	fs.StringVar(&s.Socket, flagSocket, "", "")
}

// PrivatePostFile returns the post file of a wrapped entrypoint: the signer renames it to postFile after it
// has written the step's evidence.
func PrivatePostFile(postFile string) string { return postFile + privateSuffix }

// Args returns the signer's arguments that start command under c. Parse reads them back.
func (c Config) Args(command []string) []string {
	args := []string{
		CommandRun,
		"-namespace", c.Namespace,
		"-taskrun", c.TaskRun,
		"-taskrun-uid", c.TaskRunUID.String(),
		"-container", c.Container,
		"-index", strconv.Itoa(int(c.Index)),
		"-count", strconv.Itoa(int(c.Count)),
		"-share", strconv.Itoa(c.Share),
		"-termination-path", c.TerminationPath,
	}
	args = append(args, c.args()...)
	args = append(args, c.API.args()...)
	if c.Patience != 0 {
		args = append(args, "-patience-seconds", strconv.Itoa(int(c.Patience/time.Second)))
	}
	if c.PostFile != "" {
		args = append(args, "-post-file", c.PostFile)
	}
	args = append(args, c.budgetArgs()...)
	if c.Values != nil {
		args = append(args, c.Values.args()...)
	}
	return append(append(args, "--"), command...)
}

func (o Options) args() []string {
	args := []string{"-backend", string(o.Backend), "-format", string(o.Format)}
	args = append(args, o.SPIRE.args()...)
	if !o.Backend.HasBindings() {
		return args
	}
	return append(args, "-binding", string(o.Binding), "-audience-prefix", o.Tokens.Audience,
		"-token-seconds", strconv.Itoa(int(o.Tokens.Lifetime/time.Second)))
}

// budgetArgs returns the arguments that define how the signer fills the message.
func (c Config) budgetArgs() []string {
	var args []string
	if c.Room != 0 {
		args = append(args, "-room", strconv.Itoa(c.Room))
	}
	for _, f := range []struct {
		name string
		on   bool
	}{{"-compress", c.Compress}, {"-may-compress", c.MayCompress}, {"-required", c.Required}} {
		if f.on {
			args = append(args, f.name)
		}
	}
	return args
}

// Parse reads only arguments that Args writes. It refuses any other order, spelling or repetition.
func Parse(args []string) (Config, []string, error) {
	end := slices.Index(args, "--")
	if end < 1 || args[0] != CommandRun || end == len(args)-1 {
		return Config{}, nil, fmt.Errorf("expected %s [flags] -- COMMAND [ARG...]", CommandRun)
	}
	command := args[end+1:]
	c, err := parseFlags(args[1:end])
	if err != nil {
		return Config{}, nil, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, nil, err
	}
	if want := c.Args(command); !slices.Equal(want, args) {
		return Config{}, nil, fmt.Errorf("expected the arguments %q, got %q", want[:len(want)-len(command)], args[:end+1])
	}
	return c, command, nil
}

func parseFlags(args []string) (Config, error) {
	var c Config
	fs := flag.NewFlagSet(CommandRun, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&c.Namespace, "namespace", "", "")
	fs.StringVar(&c.TaskRun, "taskrun", "", "")
	fs.Func("taskrun-uid", "", func(s string) (err error) {
		c.TaskRunUID, err = signing.ParseUID(s)
		return err
	})
	fs.StringVar(&c.Container, "container", "", "")
	fs.Func("index", "", byteVar(&c.Index))
	fs.Func("count", "", byteVar(&c.Count))
	fs.IntVar(&c.Share, "share", 0, "")
	fs.StringVar(&c.PostFile, "post-file", "", "")
	fs.StringVar(&c.TerminationPath, "termination-path", "", "")
	fs.IntVar(&c.Room, "room", 0, "")
	fs.BoolVar(&c.Compress, "compress", false, "")
	fs.BoolVar(&c.MayCompress, "may-compress", false, "")
	fs.BoolVar(&c.Required, "required", false, "")
	c.addFlags(fs)
	c.API.addFlags(fs)
	fs.Func("patience-seconds", "", secondsVar(&c.Patience))
	values := addValueFlags(fs)
	if err := fs.Parse(args); err != nil {
		return Config{}, err
	}
	c.Values = values.get()
	return c, nil
}

func (o *Options) addFlags(fs *flag.FlagSet) {
	fs.StringVar((*string)(&o.Backend), "backend", "", "")
	fs.StringVar((*string)(&o.Format), "format", "", "")
	fs.StringVar((*string)(&o.Binding), "binding", "", "")
	fs.StringVar(&o.Tokens.Audience, "audience-prefix", "", "")
	fs.Func("token-seconds", "", secondsVar(&o.Tokens.Lifetime))
	o.SPIRE.addFlags(fs)
}

func secondsVar(d *time.Duration) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 16)
		*d = time.Duration(n) * time.Second
		return err
	}
}

func byteVar(b *uint8) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 8)
		*b = uint8(n)
		return err
	}
}

// Validate returns an error for the first field that no step of a pod can have.
func (c Config) Validate() error {
	for _, f := range []struct{ name, value string }{
		{"namespace", c.Namespace}, {"taskrun", c.TaskRun}, {"container", c.Container},
	} {
		if f.value == "" {
			return fmt.Errorf("-%s is missing", f.name)
		}
	}
	switch {
	case c.TaskRunUID == signing.UID{}:
		return fmt.Errorf("-taskrun-uid is missing")
	case c.Index >= c.Count:
		return fmt.Errorf("-index %d is outside of -count %d", c.Index, c.Count)
	case c.Share < 1 || c.Share > MaxMessage:
		return fmt.Errorf("expected a -share of 1 to %d bytes, got %d", MaxMessage, c.Share)
	case c.Room < 0 || c.Room > c.Share:
		return fmt.Errorf("expected a -room of at most the share of %d bytes, got %d", c.Share, c.Room)
	case !cleanPath(c.TerminationPath):
		return fmt.Errorf("expected a clean absolute -termination-path, got %q", c.TerminationPath)
	case c.PostFile != "" && !cleanPath(c.PostFile):
		return fmt.Errorf("expected a clean absolute -post-file, got %q", c.PostFile)
	case c.Patience < 0 || c.Patience > MaxPatience:
		return fmt.Errorf("expected -patience-seconds of at most %v, got %v", MaxPatience, c.Patience)
	}
	if c.API.Known() { // without it, the step runs and is not signed
		if err := c.API.Validate(); err != nil {
			return err
		}
	}
	if err := c.Options.Validate(); err != nil {
		return err
	}
	if c.Values == nil {
		return nil
	}
	return c.Values.validate(c.Format, c.Index == c.Count-1)
}

func cleanPath(p string) bool { return path.IsAbs(p) && path.Clean(p) == p }
