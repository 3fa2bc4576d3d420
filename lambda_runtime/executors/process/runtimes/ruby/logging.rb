# frozen_string_literal: true

module LambdaRuntime
  # Where what functions print and log goes: one log event for each call of `puts` and of a logger.
  #
  # https://docs.aws.amazon.com/lambda/latest/dg/ruby-logging.html
  module Logging
    FRAME_TYPE = 0xa55a0003
    @mutex = Mutex.new

    class << self
      attr_accessor :request_id

      def start
        $stdout.sync = true
        @device = device
        Kernel.module_eval do
          def puts(*values)
            text = values.flatten.map { |value| value.to_s.encode('UTF-8', invalid: :replace, undef: :replace) }.join("\n")
            LambdaRuntime::Logging.write(text.empty? ? "\n" : text)
            nil
          end
        end
        require_relative 'logger'
      end

      def json?
        ENV['AWS_LAMBDA_LOG_FORMAT'] == 'JSON'
      end

      # One log event.
      def write(text)
        return $stdout.write(text.end_with?("\n") ? text : "#{text}\n") if @device.nil?

        moment_us = Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)
        text = text.b
        @mutex.synchronize { @device.write([FRAME_TYPE, text.bytesize, moment_us].pack('L>L>Q>') << text) }
      end

      def error(message, failure)
        write(message)
        write(JSON.pretty_generate(failure.to_h))
      end

      private

      def device
        number = ENV.delete('_LAMBDA_TELEMETRY_LOG_FD') or return nil
        file = IO.for_fd(number.to_i, 'wb', autoclose: false)
        file.sync = true
        file
      rescue SystemCallError
        nil
      end
    end
  end
end
