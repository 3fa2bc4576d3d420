# frozen_string_literal: true

require 'logger'

module LambdaRuntime
  # Log events in text, with the request they belong to.
  class TextFormatter < Logger::Formatter
    def call(severity, time, program, message)
      format("%<letter>s, [%<time>s #%<process>d] %<severity>5s %<request>s -- %<program>s: %<message>s\n",
             letter: severity[0], time: time.strftime('%Y-%m-%dT%H:%M:%S.%6N'), process: Process.pid, severity: severity,
             request: Logging.request_id, program: program, message: msg2str(message))
    end
  end

  # Log events in JSON, with the fields of AWS's.
  class JsonFormatter < Logger::Formatter
    def call(severity, time, program, message)
      event = { timestamp: time.utc.strftime('%Y-%m-%dT%H:%M:%S.%6NZ'), level: severity, message: text(message),
                requestId: Logging.request_id }
      event[:logger] = program.to_s unless program.to_s.empty?
      if message.is_a?(Exception)
        event.update(errorType: message.class.to_s, errorMessage: message.message, stackTrace: Array(message.backtrace))
        event[:location] = location(message)
      end
      "#{JSON.generate(event.compact)}\n"
    end

    private

    def text(message)
      (message.is_a?(Exception) ? message.message : msg2str(message)).encode('UTF-8', invalid: :replace, undef: :replace)
    end

    def location(exception)
      line = exception.backtrace&.first
      match = line&.match(/\A(?<file>.+):(?<line>\d+):in [`'](?<method>.+)'\z/)
      match ? "#{match[:file]}:#{match[:method]}:#{match[:line]}" : line
    end
  end

  # Stands for the log file of a logger.
  class Device
    def write(text)
      Logging.write(text)
    end

    def close; end

    def reopen(_log = nil)
      self
    end
  end

  # Loggers of the standard streams write log events of their own. In the format JSON, they have the level of the configuration.
  module StandardStreams
    def initialize(device = nil, *rest, **options)
      standard = device.nil? || device.equal?($stdout) || device.equal?($stderr)
      return super unless standard

      if Logging.json?
        level = ENV.fetch('AWS_LAMBDA_LOG_LEVEL', 'INFO')
        options[:level] ||= level == 'TRACE' ? 'DEBUG' : level
      end
      super(Device.new, *rest, **options)
      @default_formatter = Logging.json? ? JsonFormatter.new : TextFormatter.new
    end
  end
end

Logger.prepend(LambdaRuntime::StandardStreams)
