// SPDX-License-Identifier: Apache-2.0

// Command controller is the add-on: the webhooks that inject the signer and verify TaskRuns, and the reconcilers of
// certificates, token grants and the trust history, in one process. config/ holds its manifests.
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
	kubeclient "knative.dev/pkg/client/injection/kube/client"
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
	if err := run(signals.NewContext()); err != nil {
		log.Fatal(err)
	}
}

// run is the add-on, until stop ends. Then the reconcilers end at once, and another replica takes over. The webhooks are
// drained, and what they look at is followed until they are done.
func run(stop context.Context) error {
	if system.Namespace() != manifests.Namespace {
		return fmt.Errorf("expected to run in namespace %s, got %s", manifests.Namespace, system.Namespace())
	}
	counted := metrics.New(version.Get())
	controller.SetMetricsProvider(counted.Queues())
	clientmetrics.Register(clientmetrics.RegisterOpts{RequestResult: counted.APIRequests()})
	config := injection.ParseAndGetRESTConfigOrDie()
	// The webhooks make one request per completed TaskRun, within a time limit: the API server's own fairness bounds them.
	config.QPS = -1
	// The libraries log every reconciled key; what the add-on did is in its own lines.
	quiet := newLogger(os.Stderr, zapcore.WarnLevel, counted.LogLine)
	klog.SetLogger(zapr.NewLogger(quiet.Desugar()))
	rest.SetDefaultWarningHandler(&logging.WarningHandler{Logger: quiet})

	work, end := context.WithCancel(logging.WithLogger(context.WithoutCancel(stop), quiet))
	defer end()
	addon, err := newAddOn(work, config, newLogger(os.Stderr, zapcore.InfoLevel, counted.LogLine), counted)
	if err != nil {
		return err
	}
	return addon.serve(stop, injection.WithNamespaceScope(work, system.Namespace()), config)
}

// serve makes the reconcilers and webhooks and runs them. stop ends them, ctx what they look at.
func (a *addOn) serve(stop, ctx context.Context, config *rest.Config) error {
	ctx, startInformers := injection.EnableInjectionOrDie(ctx, config)
	reconciling, halt := context.WithCancel(ctx)
	defer halt()
	context.AfterFunc(stop, halt)

	controllers := a.controllers(reconciling)
	crew, err := newCrew(reconciling, kubeclient.Get(ctx), controllers, a.metrics.Leading)
	if err != nil {
		return err
	}
	startInformers()
	a.run(ctx)

	servers, err := a.listen(ctx)
	if err != nil {
		return err
	}
	group, failed := errgroup.WithContext(ctx)
	context.AfterFunc(failed, halt)
	for _, serve := range servers {
		group.Go(func() error { return serve(mergeStop(stop, failed)) })
	}
	group.Go(func() error { return controller.StartAll(reconciling, controllers...) })
	group.Go(func() error { crew.Run(reconciling); return nil })
	a.log.Infow("started", "version", version.Get().Version, "pod", os.Getenv("POD_NAME"))
	err = group.Wait()
	a.log.Infow("ended", "pod", os.Getenv("POD_NAME"))
	return err
}

// mergeStop returns a context that ends with either.
func mergeStop(a, b context.Context) context.Context {
	merged, cancel := context.WithCancel(a)
	context.AfterFunc(b, cancel)
	return merged
}

// requiredEnv returns an environment variable that the manifests set.
func requiredEnv(name string) (string, error) {
	value := os.Getenv(name)
	if value == "" {
		return "", fmt.Errorf("the environment variable %s is not set: install the add-on with kubectl tekton-sign enable", name)
	}
	return value, nil
}

// Timing of the add-on.
const (
	// A leader that died is replaced within leaseDuration.
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)
