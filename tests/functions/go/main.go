// A function as people write them with github.com/aws/aws-lambda-go: what it does is in the event.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do   string `json:"do"`
	Text string `json:"text"`
}

type answer struct {
	Text        string `json:"text"`
	Invocations int    `json:"invocations"`
	RequestID   string `json:"requestId"`
	Arn         string `json:"arn"`
	RemainingMs int64  `json:"remainingMs"`
	Runtime     string `json:"runtime"`
	Uid         int    `json:"uid"`
}

type notFound struct{ name string }

func (e *notFound) Error() string { return e.name + " was not found" }

var invocations int

func handle(ctx context.Context, e event) (answer, error) {
	invocations++
	switch e.Do {
	case "fail":
		return answer{}, errors.New(e.Text)
	case "fail with a type":
		return answer{}, &notFound{e.Text}
	case "panic":
		panic(e.Text)
	case "exit":
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Minute)
	case "print":
		fmt.Println(e.Text)
		log.Print("logged: ", e.Text)
	}
	found, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	return answer{
		Text:        e.Text,
		Invocations: invocations,
		RequestID:   found.AwsRequestID,
		Arn:         found.InvokedFunctionArn,
		RemainingMs: time.Until(deadline).Milliseconds(),
		Runtime:     os.Getenv("AWS_EXECUTION_ENV"),
		Uid:         os.Getuid(),
	}, nil
}

func main() {
	if os.Getenv("FAIL_INIT") != "" {
		panic("cannot start")
	}
	lambda.Start(handle)
}
