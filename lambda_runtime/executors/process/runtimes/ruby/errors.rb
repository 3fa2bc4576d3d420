# frozen_string_literal: true

module LambdaRuntime
  # An exception as it is told to AWS.
  class Failure
    MOST_FRAMES = 100
    NAMED = %w[ArgumentError NoMethodError Exception StandardError NameError LoadError SystemExit SystemStackError].freeze
    OURS = __dir__

    attr_reader :message, :type, :stack_trace

    # `phase` is `Init` or `Function`.
    def initialize(exception, phase)
      @class_name = exception.class.to_s
      @message = exception.message.to_s.encode('UTF-8', invalid: :replace, undef: :replace)
      @type = "#{phase}<#{@class_name}>"
      @locations = (exception.backtrace_locations || []).reject { |line| line.to_s.start_with?(OURS, '<internal:') }.first(MOST_FRAMES)
      @stack_trace = @locations.map(&:to_s)
    end

    def to_h
      { errorMessage: @message, errorType: @type, stackTrace: @stack_trace }
    end

    # The type for the platform's own use: the classes of functions are their own affair.
    def reported_type
      NAMED.include?(@class_name) ? @type : 'Function<UserException>'
    end

    # What AWS X-Ray shows.
    def cause
      stack = @locations.map { |line| { path: line.path, line: line.lineno, label: line.label } }
      JSON.generate(working_directory: Dir.pwd, exceptions: [{ type: @type, message: @message, stack: stack }],
                    paths: stack.map { |frame| frame[:path] }.uniq)
    end
  end
end
