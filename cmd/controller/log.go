// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
)

// maxLogged bounds one value in the log, in characters. A stack is the longest that belongs there.
const maxLogged = 4000

// newLogger returns a logger of JSON lines. Logged values can come from objects of the cluster. So the logger
// escapes everything that could make a terminal or a log viewer show something different, not only what JSON
// requires. count gets the level of every line.
func newLogger(out io.Writer, level zapcore.Level, count func(level string)) *zap.SugaredLogger {
	config := zap.NewProductionEncoderConfig()
	config.TimeKey, config.EncodeTime = "timestamp", zapcore.RFC3339NanoTimeEncoder
	config.LevelKey, config.MessageKey, config.StacktraceKey = "severity", "message", ""
	core := zapcore.NewCore(zapcore.NewJSONEncoder(config), zapcore.Lock(zapcore.AddSync(out)), level)
	return zap.New(safeCore{core, count}).Sugar()
}

// safeCore escapes what it passes on.
type safeCore struct {
	zapcore.Core
	count func(level string)
}

// With implements zapcore.Core.
func (c safeCore) With(fields []zapcore.Field) zapcore.Core {
	return safeCore{c.Core.With(safeFields(fields)), c.count}
}

// Check implements zapcore.Core.
func (c safeCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c safeCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	c.count(entry.Level.String())
	entry.Message = display.Short(entry.Message, maxLogged)
	entry.LoggerName = display.Short(entry.LoggerName, maxLogged)
	return c.Core.Write(entry, safeFields(fields))
}

func safeFields(fields []zapcore.Field) []zapcore.Field {
	safe := make([]zapcore.Field, len(fields))
	for i, f := range fields {
		safe[i] = safeField(f)
	}
	return safe
}

// safeField converts everything to text, except numbers, times and the like.
func safeField(f zapcore.Field) zapcore.Field {
	f.Key = display.Short(f.Key, maxLogged)
	switch f.Type {
	case zapcore.BoolType, zapcore.DurationType, zapcore.Float64Type, zapcore.Float32Type, zapcore.Int64Type,
		zapcore.Int32Type,
		zapcore.Int16Type, zapcore.Int8Type, zapcore.Uint64Type, zapcore.Uint32Type, zapcore.Uint16Type, zapcore.Uint8Type,
		zapcore.UintptrType, zapcore.TimeType, zapcore.TimeFullType, zapcore.SkipType:
		return f
	case zapcore.StringType:
		return zap.String(f.Key, display.Short(f.String, maxLogged))
	case zapcore.ErrorType:
		if err, ok := f.Interface.(error); ok {
			return zap.String(f.Key, display.Short(err.Error(), maxLogged))
		}
	case zapcore.ByteStringType:
		if b, ok := f.Interface.([]byte); ok {
			return zap.String(f.Key, display.Short(string(b), maxLogged))
		}
	}
	return zap.String(f.Key, display.Short(textOf(f), maxLogged))
}

// textOf returns the value of a field of any type.
func textOf(f zapcore.Field) string {
	fields := zapcore.NewMapObjectEncoder()
	f.AddTo(fields)
	if value, ok := fields.Fields[f.Key]; ok {
		return fmt.Sprint(value)
	}
	return fmt.Sprint(fields.Fields)
}
