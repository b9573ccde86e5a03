// SPDX-License-Identifier: Apache-2.0

// Command controller is the add-on. Without arguments, it runs the webhooks that inject the signer and verify
// TaskRuns, and the reconcilers of records and of the trust history. With the argument keeper, it maintains the
// certificate, the webhook configurations, the bindings of the policies and the token grants. A process that listens
// to the network should not have these rights. The manifests of both are in config/.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	clientmetrics "k8s.io/client-go/tools/metrics"
	"k8s.io/klog/v2"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/injection"
	"knative.dev/pkg/logging"
	"knative.dev/pkg/signals"
	"knative.dev/pkg/system"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/metrics"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

func main() {
	if err := run(signals.NewContext(), os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

// process is one of the two programs of the add-on.
type process interface {
	// name is the name of its Deployment and of its Lease.
	name() string
	// controllers makes its reconcilers.
	controllers(ctx context.Context) ([]*controller.Impl, error)
	// follow watches the cluster until ctx ends. All handlers must be registered before.
	follow(ctx context.Context)
	// listen opens its ports, so that a port in use is an error at once.
	listen(ctx context.Context) ([]server, error)
}

// newProcess returns the program for the arguments.
func newProcess(args []string, shared *common, config *rest.Config) (process, error) {
	switch {
	case len(args) == 0:
		return newAddOn(shared, config)
	case len(args) == 1 && args[0] == keeperCommand:
		return newKeeper(shared, config)
	}
	return nil, fmt.Errorf("arguments: expected none or %s, got %q", keeperCommand, args)
}

// run runs the program until stop ends. Then the reconcilers end at once, and another replica takes over. The
// webhooks are drained. The views of the cluster that they need end after them.
func run(stop context.Context, args []string) error {
	if system.Namespace() != manifests.Namespace {
		return fmt.Errorf("expected to run in namespace %s, got %s", manifests.Namespace, system.Namespace())
	}
	counted := metrics.New(version.Get())
	controller.SetMetricsProvider(counted.Queues())
	clientmetrics.Register(clientmetrics.RegisterOpts{RequestResult: counted.APIRequests()})
	config := injection.ParseAndGetRESTConfigOrDie()
	// Client-side limits are off. The webhooks make one request per completed TaskRun, with a timeout, and the API
	// server limits them by its own priority and fairness.
	config.QPS = -1
	// The libraries log every reconciled key. The add-on logs what it did itself.
	quiet := newLogger(os.Stderr, zapcore.WarnLevel, counted.LogLine)
	klog.SetLogger(zapr.NewLogger(quiet.Desugar()))
	rest.SetDefaultWarningHandler(&logging.WarningHandler{Logger: quiet})

	work, end := context.WithCancel(logging.WithLogger(context.WithoutCancel(stop), quiet))
	defer end()
	shared, err := newCommon(work, config, newLogger(os.Stderr, zapcore.InfoLevel, counted.LogLine), counted)
	if err != nil {
		return err
	}
	p, err := newProcess(args, shared, config)
	if err != nil {
		return err
	}
	return shared.serve(stop, work, p)
}

// serve makes and runs the reconcilers and servers of the process. stop ends them. ctx ends the watches that they
// need.
func (c *common) serve(stop, ctx context.Context, p process) error {
	reconciling, halt := context.WithCancel(ctx)
	defer halt()
	context.AfterFunc(stop, halt)

	controllers, err := p.controllers(reconciling)
	if err != nil {
		return err
	}
	leading, err := newElection(reconciling, c.client, p.name(), controllers, c.metrics.Leading)
	if err != nil {
		return err
	}
	p.follow(ctx)
	servers, err := p.listen(ctx)
	if err != nil {
		return err
	}
	group, failed := errgroup.WithContext(ctx)
	context.AfterFunc(failed, halt)
	for _, serve := range servers {
		group.Go(func() error { return serve(mergeStop(stop, failed)) })
	}
	group.Go(func() error { return controller.StartAll(reconciling, controllers...) })
	group.Go(func() error { leading.Run(reconciling); return nil })
	c.log.Infow("started", "version", version.Get().Version, "pod", os.Getenv("POD_NAME"))
	err = group.Wait()
	c.log.Infow("ended", "pod", os.Getenv("POD_NAME"))
	return err
}

// mergeStop returns a context that ends with either.
func mergeStop(a, b context.Context) context.Context {
	merged, cancel := context.WithCancel(a)
	context.AfterFunc(b, cancel)
	return merged
}

// requiredEnv returns the value of an environment variable that the manifests set.
func requiredEnv(name string) (string, error) {
	value := os.Getenv(name)
	if value == "" {
		return "", fmt.Errorf("the environment variable %s is not set: install the add-on with kubectl tekton-sign enable",
			name)
	}
	return value, nil
}

// Timing of the add-on.
const (
	// Another replica replaces a dead leader within leaseDuration.
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)
