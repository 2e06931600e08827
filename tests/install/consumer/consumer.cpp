// A C++20 user of the installed library.
#include <lockstep/lockstep.hpp>

int main() {
  lockstep::Session session;
  session.wait_for_everyone({.name = "hello"});
  session.print(std::to_string(session.size()) + " ranks on " +
                    std::to_string(session.node_count()) + " nodes",
                lockstep::Scope::job);
}
