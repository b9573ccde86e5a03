// SPDX-License-Identifier: Apache-2.0

// Command controller is the add-on: the webhooks that inject the signer and verify TaskRuns, and the reconcilers of
// certificates, token grants and the trust history, in one process. config/ holds its manifests.
package main

import (
	"fmt"
	"log"
	"os"
	"time"

	"go.uber.org/zap"
	"knative.dev/pkg/injection"
	"knative.dev/pkg/injection/sharedmain"
	"knative.dev/pkg/leaderelection"
	"knative.dev/pkg/logging"
	"knative.dev/pkg/observability"
	"knative.dev/pkg/signals"
	"knative.dev/pkg/system"
	"knative.dev/pkg/webhook"
	"knative.dev/pkg/webhook/certificates"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// Timing of the add-on.
const (
	// drain is how long the webhooks answer after the pod was told to stop, so that the API servers stop calling first.
	drain = 3 * time.Second
	// A leader that died is replaced within leaseDuration.
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

func main() {
	if system.Namespace() != manifests.Namespace {
		log.Fatalf("expected to run in namespace %s, got %s", manifests.Namespace, system.Namespace())
	}
	config := injection.ParseAndGetRESTConfigOrDie()
	// The webhooks make one request per completed TaskRun, within a time limit: the API server's own fairness bounds them.
	config.QPS = -1
	ctx := injection.WithNamespaceScope(signals.NewContext(), system.Namespace())
	logger, err := newLogger("info")
	if err != nil {
		log.Fatal(err)
	}
	addon, err := newAddOn(ctx, config, logger)
	if err != nil {
		log.Fatal(err)
	}
	ctx = webhook.WithOptions(ctx, webhook.Options{
		ServiceName: manifests.Controller,
		SecretName:  manifests.CertificateSecret,
		Port:        webhook.PortFromEnv(8443),
		GracePeriod: drain,
	})
	ctx = leaderelection.WithConfig(ctx, &leaderelection.Config{
		Buckets: 1, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
	})
	// The libraries log every request and every reconciled key; what the add-on did is in its own lines.
	quiet, err := logConfig("warn")
	if err != nil {
		log.Fatal(err)
	}
	ctx = logging.WithConfig(ctx, quiet)
	ctx = observability.WithConfig(ctx, observability.DefaultConfig())
	ctx = injection.AddReadiness(ctx, addon.readiness(ctx))
	sharedmain.MainWithConfig(ctx, manifests.Controller, config,
		certificates.NewController,
		addon.newInjectController,
		addon.newStatusController,
		addon.newGrantsController,
	)
}

func logConfig(level string) (*logging.Config, error) {
	return logging.NewConfigFromMap(map[string]string{"loglevel." + manifests.Controller: level})
}

// newLogger returns the logger of the add-on itself.
func newLogger(level string) (*zap.SugaredLogger, error) {
	config, err := logConfig(level)
	if err != nil {
		return nil, err
	}
	logger, _ := logging.NewLoggerFromConfig(config, manifests.Controller)
	return logger, nil
}

// requiredEnv returns an environment variable that the manifests set.
func requiredEnv(name string) (string, error) {
	value := os.Getenv(name)
	if value == "" {
		return "", fmt.Errorf("the environment variable %s is not set: install the add-on with kubectl tekton-sign enable", name)
	}
	return value, nil
}
