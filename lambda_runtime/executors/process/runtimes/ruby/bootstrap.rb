# frozen_string_literal: true

# The Ruby runtime of the process executor: `ruby bootstrap.rb`, configured by the variables AWS sets (AWS_LAMBDA_RUNTIME_API,
# _HANDLER, LAMBDA_TASK_ROOT, …). Behaves as AWS's runtime client does, with the standard library alone.

require 'json'
require 'stringio'
require_relative 'context'
require_relative 'errors'
require_relative 'logging'
require_relative 'marshaller'
require_relative 'runtime_api'
require_relative 'user_function'

module LambdaRuntime
  # Loads the function and runs it for one event after the other.
  class Runner
    EXIT_CRITICAL = -1
    EXIT_NOT_ANSWERED = -2
    EXIT_INIT_ERROR = -4

    def initialize
      @api = RuntimeApi.new(ENV.fetch('AWS_LAMBDA_RUNTIME_API'))
    end

    def run
      load_function
      loop { handle(@api.next_invocation) }
    rescue SignalException
      exit 0
    rescue RuntimeApi::Gone
      exit EXIT_NOT_ANSWERED
    end

    private

    def load_function
      root = ENV.fetch('LAMBDA_TASK_ROOT')
      $LOAD_PATH.unshift(root) unless $LOAD_PATH.include?(root)
      @function = UserFunction.new(ENV.fetch('_HANDLER'))
    rescue SignalException
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException - SystemExit and LoadError in the function's file are errors, too
      failure = Failure.new(e, 'Init')
      Logging.error("Init error when loading handler #{ENV['_HANDLER']}", failure)
      @api.init_error(failure)
      exit! EXIT_INIT_ERROR
    end

    def handle(invocation)
      Logging.request_id = invocation.request_id
      ENV['_X_AMZN_TRACE_ID'] = invocation.trace_id
      body, type = answer(invocation)
      @api.respond(invocation, body, type) if body
    end

    # What to respond, and its content type; nothing when the function failed and that has been said.
    def answer(invocation)
      result = @function.call(AwsLambda::Marshaller.marshall_request(invocation), Context.new(invocation))
      body, type = AwsLambda::Marshaller.marshall_response(result)
      [body.respond_to?(:read) ? body.read : body, type || 'application/json']
    rescue SignalException
      raise
    rescue StandardError => e
      critical(invocation, e) if e.is_a?(NameError)
      fail_with(invocation, e, 'Error raised from handler method')
    rescue Exception => e # rubocop:disable Lint/RescueException - `exit`, a stack that overflowed, …
      critical(invocation, e)
    end

    def critical(invocation, exception)
      fail_with(invocation, exception, 'Critical exception from handler')
      exit! EXIT_CRITICAL
    end

    def fail_with(invocation, exception, message)
      failure = Failure.new(exception, 'Function')
      Logging.error(message, failure)
      @api.invocation_error(invocation, failure)
      nil
    end
  end
end

LambdaRuntime::Logging.start
LambdaRuntime::Runner.new.run
