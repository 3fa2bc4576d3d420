# frozen_string_literal: true

module LambdaRuntime
  # The function: a method of the top level, or of a class or module.
  class UserFunction
    # `handler` is FILE.METHOD or FILE.CLASS.METHOD. Loads the file.
    def initialize(handler)
      parts = handler.split('.')
      unless [2, 3].include?(parts.size)
        raise ArgumentError, "Invalid handler #{parts}, must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD where FILENAME " \
                             'corresponds with an existing Ruby source file FILENAME.rb, CLASS is an optional module/class ' \
                             'namespace and METHOD is a callable method. If using CLASS, METHOD must be a class-level method.'
      end
      file, @owner, @method = parts.size == 3 ? parts : [parts[0], nil, parts[1]]
      require file
    end

    def call(event, context)
      receiver = @owner ? Kernel.const_get(@owner) : TOPLEVEL_BINDING.receiver
      receiver.send(@method, event: event, context: context)
    end
  end
end
