// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/spire"
)

// options are shared by all verbs.
type options struct {
	name string
}

func (o *options) open() (*lab.Lab, error) {
	return lab.Open(lab.Options{Name: o.name, Progress: os.Stderr})
}

func newCommand() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:           "lab",
		Short:         "A real one-node Kubernetes with Tekton on this machine, for tests",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&o.name, "name", "",
		"which lab; the default is $"+lab.NameVariable+", or else "+lab.DefaultName)
	root.AddCommand(newCheck(), newBuild(o), newUp(o), newDown(o), newStatus(o), newEnv(o), newLoad(o), newAdd(o),
		newRemove(o), newExec(o),
		newStop(o), newStart(o), newRestart(o))
	return root
}

func newCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Say whether the lab can run on this machine, by exit code 0 or 2", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return lab.Check() },
	}
}

func newBuild(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "build", Short: "Build all components into the cache, start nothing", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			return l.Build(cmd.Context())
		},
	}
}

func newUp(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "up", Short: "Bring the lab up, building what is not in the cache", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			if err := l.Up(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "use it:\n  export KUBECONFIG=%s\n", l.Kubeconfig())
			return nil
		},
	}
}

func newDown(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "End the lab and remove everything but the cache", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			return l.Down(cmd.Context())
		},
	}
}

func newStatus(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show whether the lab is up, and its components", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			status, err := l.Status(cmd.Context())
			if err != nil {
				return err
			}
			return printStatus(cmd.OutOrStdout(), l, status)
		},
	}
}

func printStatus(out io.Writer, l *lab.Lab, status lab.Status) error {
	state := "down"
	if status.Init != 0 {
		state = "not ready"
	}
	if status.Up {
		state = "up"
	}
	_, _ = fmt.Fprintf(out, "lab %s: %s\n", l.Name(), state)
	if status.Init == 0 {
		return nil
	}
	_, _ = fmt.Fprintf(out, "kubeconfig: %s\nstate and logs: %s\n\n", l.Kubeconfig(), l.StateFolder())
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "COMPONENT\tPID INSIDE\tRESTARTS\tLAST EXIT")
	for _, c := range status.Components {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", c.Name, c.PID, c.Restarts, c.LastExit)
	}
	return table.Flush()
}

func newEnv(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "env", Short: "Print shell commands that make kubectl use the lab", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "export KUBECONFIG='%s'\nexport PATH='%s':\"$PATH\"\n",
				l.Kubeconfig(), l.BinFolder())
			return nil
		},
	}
}

func newLoad(o *options) *cobra.Command {
	var files, entrypoint []string
	var user, layout string
	cmd := &cobra.Command{
		Use:   "load REPOSITORY:TAG --file SOURCE=/PATH/IN/IMAGE...|--layout FOLDER",
		Short: "Give the node an image made of local static binaries, or one of an OCI layout",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec := lab.Image{Entrypoint: entrypoint, User: user, Files: map[string]string{}}
			for _, file := range files {
				source, target, ok := strings.Cut(file, "=")
				if !ok || !strings.HasPrefix(target, "/") {
					return fmt.Errorf("flag --file: expected SOURCE=/PATH/IN/IMAGE, got %q", file)
				}
				spec.Files[target] = source
			}
			l, err := o.open()
			if err != nil {
				return err
			}
			load := func() (string, error) { return l.LoadImage(cmd.Context(), args[0], spec) }
			if layout != "" {
				load = func() (string, error) { return l.LoadLayout(cmd.Context(), args[0], layout) }
			}
			digest, err := load()
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), digest)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&files, "file", nil, "a local file and its path in the image; may be repeated")
	cmd.Flags().StringVar(&layout, "layout", "", "folder of an OCI layout with an image index")
	cmd.MarkFlagsMutuallyExclusive("file", "layout")
	cmd.Flags().StringArrayVar(&entrypoint, "entrypoint", nil, "what runs; repeat it for arguments")
	cmd.Flags().StringVar(&user, "user", "", "user id, or user:group; the default is root")
	return cmd
}

func newAdd(o *options) *cobra.Command {
	var spireOptions lab.SPIREOptions
	cmd := &cobra.Command{
		Use: "add ADD-ON", Short: "Run what a lab has only when asked to: " + strings.Join(lab.AddOns(), ", "),
		Args: cobra.ExactArgs(1), ValidArgs: lab.AddOns(),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			if args[0] == lab.SPIRE {
				_, err := l.AddSPIRE(cmd.Context(), spireOptions)
				return err
			}
			if spireOptions != (lab.SPIREOptions{}) {
				return errors.New("flags --config, --key-type and --controller-manager: expected with the add-on " +
					lab.SPIRE + " only")
			}
			return l.Add(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&spireOptions.Config, "config", "",
		"how SPIRE runs: "+strings.Join(spire.Configs(), ", ")+"; the default is "+spire.Plain)
	cmd.Flags().StringVar(&spireOptions.KeyType, "key-type", "",
		"keys that SPIRE makes for pods: "+strings.Join(spire.KeyTypes(), ", ")+"; the default is "+spire.KeyTypes()[0])
	cmd.Flags().BoolVar(&spireOptions.ControllerManager, "controller-manager", false,
		"run spire-controller-manager beside SPIRE's server")
	return cmd
}

func newRemove(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "remove ADD-ON", Short: "Take away what add brought", Args: cobra.ExactArgs(1), ValidArgs: lab.AddOns(),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			return l.Remove(cmd.Context(), args[0])
		},
	}
}

func newExec(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "exec -- COMMAND [ARGUMENT...]", Short: "Run a command inside the lab's namespaces",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			command, err := l.Command(cmd.Context(), args[0], args[1:]...)
			if err != nil {
				return err
			}
			command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
			err = command.Run()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return fmt.Errorf("%s inside the lab: %w", args[0], err)
			}
			return err
		},
	}
}

func newStop(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "stop COMPONENT", Short: "Stop a component, which stays down until it is started",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			return l.Stop(cmd.Context(), args[0])
		},
	}
}

func newStart(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "start COMPONENT [-- FLAG...]", Short: "Start a stopped component, with extra flags",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			return l.Start(cmd.Context(), args[0], args[1:]...)
		},
	}
}

func newRestart(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "restart COMPONENT [-- FLAG...]", Short: "Stop a component and start it, with extra flags",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := o.open()
			if err != nil {
				return err
			}
			return l.Restart(cmd.Context(), args[0], args[1:]...)
		},
	}
}
